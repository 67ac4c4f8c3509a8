"""Amounts of deals that name no currency: they are in the account's, whatever it was when they were read."""

from __future__ import annotations

import polars as pl

from crm_attribution.money import minor_units
from crm_attribution.warehouse.session import Session

_OWN = "json_extract_string(properties, '$.deal_currency_code')"


def price_again(session: Session, home: str | None) -> int:
    """Give every deal without a currency of its own the account's, and its amount in that one's minor units.

    Args:
        session: an open session, in a transaction.
        home: the account's currency, ISO 4217; null where it has none.

    Returns:
        how many deals changed.
    """
    given = session.query(
        f"SELECT id, json_extract_string(properties, '$.amount') AS _text FROM raw.deal WHERE coalesce({_OWN}, '') = ''"
    )
    rows = session.read_keys("raw.deal", given.select("id")).join(given, on="id")
    currency = pl.Series([home] * rows.height, dtype=pl.String)
    minor = minor_units(rows["_text"].str.strip_chars(), currency.fill_null(""))
    priced = rows.drop("_text").with_columns(currency=currency, amount=minor)
    return session["raw.deal"].upsert(priced).height
