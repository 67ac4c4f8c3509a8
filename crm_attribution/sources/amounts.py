"""Sources whose rows have an `amount` in a `currency`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crm_attribution.hubspot.texts import clean
from crm_attribution.money import to_decimal, to_minor
from crm_attribution.sources.base import Given, Source
from crm_attribution.sources.rows import Row, iso_currency

AMOUNT = "decimal number in `currency`, with no more digits than it has (12.50 EUR, 1250 JPY)"
LARGEST = 10**14
"""Minor units of one row: no file has so many rows that they add up beyond 64 bits."""


@dataclass(frozen=True)
class Amounts(Source):
    """A source whose files hold amounts as decimal numbers and whose table holds them in minor units."""

    def row(self, given: Given, problems: list[str]) -> Row:
        return super().row(in_minor_units(given), problems)


def in_minor_units(given: Given) -> Given:
    """A row with its amount in minor units and its currency in capitals.

    Raises:
        ValueError: `column:reason`, when the amount is none, or has digits that the currency does not have: rounded,
            rows would no longer add up to what the source shows.
    """
    amount, currency = (clean(given.get(name) or "").strip() for name in ("amount", "currency"))
    if not amount or not currency:
        return given  # a row without is refused as it is read
    try:
        code = iso_currency(currency)
    except ValueError as error:
        raise ValueError(f"currency:{error}") from None
    minor = to_minor(amount, code)
    if minor is None or abs(minor) > LARGEST:
        raise ValueError("amount:not_an_amount")
    if Decimal(to_decimal(minor, code)) != Decimal(amount):
        raise ValueError(f"amount:more_digits_than_{code}_has")
    return {**given, "amount": str(minor), "currency": code}
