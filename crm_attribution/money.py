"""Money as integer minor units with its currency. Never a float."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

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


def minor_units(values: pl.Series, currencies: pl.Series) -> pl.Series:
    """Decimal strings in minor units of the currency of the same row; null where either is missing or invalid."""
    distinct = pl.DataFrame({"value": values, "currency": currencies}).unique().drop_nulls()
    minors = [to_minor(value, currency) for value, currency in distinct.iter_rows()]
    known = distinct.with_columns(minor=pl.Series(minors, dtype=pl.Int64))
    pairs = pl.DataFrame({"value": values, "currency": currencies})
    return pairs.join(known, on=["value", "currency"], how="left", maintain_order="left")["minor"]


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
