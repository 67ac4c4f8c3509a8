"""Which rate of the table holds for an amount of a day or month."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from crm_attribution.money import quotient, shortest


def table_rates(asked: pl.DataFrame, rates: pl.DataFrame, home: str) -> pl.DataFrame:
    """The last rate of the table for each row. Of a day that has only the rate the other way round, its inverse.

    Args:
        asked: _row; currency; from when on (`since`) until when (`until`) a rate may be.
        rates: raw.exchange_rate rows.
        home: ISO 4217 code of what is converted to.

    Returns:
        _row, `_rate` (decimal number as text) and `_day` of the rows that have one.
    """
    direct = rates.filter(pl.col("to_currency") == home).select("rate", currency="from_currency", _day="date")
    other = rates.filter(pl.col("from_currency") == home)
    inverse = other.select(
        rate=pl.Series([shortest(quotient(Decimal(1), Decimal(rate))) for rate in other["rate"]], dtype=pl.String),
        currency="to_currency",
        _day="date",
    )
    known = pl.concat([direct, inverse.join(direct, on=["currency", "_day"], how="anti")]).sort("currency", "_day")
    return (
        asked.select("_row", "currency", "since", "until")
        .sort("currency", "until")
        .join_asof(
            known.rename({"rate": "_rate"}).with_columns(_at=pl.col("_day")),
            left_on="until",
            right_on="_at",
            by="currency",
            check_sortedness=False,
        )
        .filter(pl.col("_day") >= pl.col("since"))
        .select("_row", "_rate", "_day")
    )
