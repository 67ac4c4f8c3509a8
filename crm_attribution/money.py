"""Money as integer minor units with its currency. Never a float."""

from __future__ import annotations

import re
from decimal import Context, Decimal, InvalidOperation

import polars as pl

_EXPONENTS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
"""Minor-unit digits that are not 2, from ISO 4217 (https://www.iso.org/iso-4217-currency-codes.html)."""

CURRENCY = r"^[A-Z]{3}$"
"""How an ISO 4217 code is written."""

LARGEST = 10**17
"""Amounts beyond this are typing errors; it keeps every sum inside a signed 64-bit integer."""


RATE_DIGITS = 18
"""Digits that a rate has on each side of the point at most, and significant ones of a rate that is a quotient."""

_WIDE = Context(prec=80)
"""Holds an amount times a rate in full: it is rounded once."""


def exponent(currency: str) -> int:
    """How many digits the minor unit has."""
    return _EXPONENTS.get(currency.upper(), 2)


def to_minor(text: str, currency: str) -> int | None:
    """A decimal number as HubSpot writes it, in minor units; halves round to even. None where it is no amount."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or number.copy_abs() > LARGEST:
        return None
    minor = int((number * 10 ** exponent(currency)).to_integral_value())
    return minor if abs(minor) <= LARGEST else None


def to_decimal(minor: int, currency: str) -> str:
    """Minor units as a decimal string, for payloads: 123456 EUR is `1234.56`."""
    digits = exponent(currency)
    return f"{Decimal(minor).scaleb(-digits):.{digits}f}"


def to_json_number(minor: int, currency: str) -> int | float:
    """Minor units as a JSON number. A float's shortest spelling is the decimal itself below 16 digits."""
    text = to_decimal(minor, currency)
    return float(text) if "." in text else int(text)


def minor_units(values: pl.Series, currencies: pl.Series) -> pl.Series:
    """Decimal strings in minor units of the currency of the same row; null where either is missing or invalid."""
    distinct = pl.DataFrame({"value": values, "currency": currencies}).unique().drop_nulls()
    minors = [to_minor(value, currency) for value, currency in distinct.iter_rows()]
    known = distinct.with_columns(minor=pl.Series(minors, dtype=pl.Int64))
    pairs = pl.DataFrame({"value": values, "currency": currencies})
    return pairs.join(known, on=["value", "currency"], how="left", maintain_order="left")["minor"]


def exchange_rate(text: str | None) -> Decimal | None:
    """A decimal number above zero, at most 18 digits on each side of the point; None for anything else."""
    digits = rf"\d{{1,{RATE_DIGITS}}}"
    if text is None or not re.fullmatch(rf"{digits}(\.{digits})?", text.strip(), re.ASCII):
        return None
    return Decimal(text.strip()) or None


def shortest(rate: Decimal) -> str:
    """A rate as its shortest text: equal rates are equal texts."""
    return f"{rate.normalize(_WIDE):f}"


def quotient(one: Decimal, other: Decimal) -> Decimal:
    """A rate that is told as a fraction, with 18 significant digits."""
    return Context(prec=RATE_DIGITS).divide(one, other)


def converted(minor: int, currency: str, home: str, rate: Decimal) -> int | None:
    """An amount in minor units of another currency, rounded once, halves to even; None beyond what is an amount."""
    digits = exponent(home) - exponent(currency)
    exact = _WIDE.multiply(_WIDE.multiply(Decimal(minor), rate), Decimal(10) ** digits)
    found = int(exact.to_integral_value(context=_WIDE))
    return found if abs(found) <= LARGEST else None


def convert(amounts: pl.Series, currencies: pl.Series, rates: pl.Series, home: str) -> pl.Series:
    """Amounts in minor units of `home`, each by the rate of its row.

    Args:
        amounts: Int64, minor units of the row's currency.
        currencies: ISO 4217 codes.
        rates: units of `home` for one of the currency, decimal numbers as text.
        home: ISO 4217 code.

    Returns:
        Int64; null where amount, currency or rate is.
    """
    given = pl.DataFrame({"minor": amounts, "currency": currencies, "rate": rates})
    distinct = given.unique().drop_nulls()
    found = [converted(minor, currency, home, Decimal(rate)) for minor, currency, rate in distinct.iter_rows()]
    known = distinct.with_columns(home=pl.Series(found, dtype=pl.Int64))
    return given.join(known, on=["minor", "currency", "rate"], how="left", maintain_order="left")["home"]


def split(amount: int, weights: list[int]) -> list[int]:
    """Split an amount by integer weights so that the parts add up to it exactly.

    Every part is the floor of its share; what is missing goes to the largest remainders, ties to the earlier part.
    A negative amount is split as its absolute value. No weights: no parts.
    """
    total = sum(weights)
    if total <= 0:
        return [0] * len(weights)
    size = abs(amount)
    parts = [size * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(size * weights[i] % total), i))
    for i in order[: size - sum(parts)]:
        parts[i] += 1
    return [part if amount >= 0 else -part for part in parts]
