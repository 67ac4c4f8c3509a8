"""What was spent on a day or in a month, in the account's home currency."""

from __future__ import annotations

import polars as pl

from crm_attribution.events.rules.rates import table_rates
from crm_attribution.money import convert


def home_spend(amounts: pl.DataFrame, rates: pl.DataFrame, home: str, rate_days: int) -> pl.DataFrame:
    """events.home_spend rows.

    Args:
        amounts: period (day or month), starts_on, currency and amount, each once.
        rates: raw.exchange_rate rows.
        home: ISO 4217 code of the home currency.
        rate_days: how many days before the day or month the last rate may lie.
    """
    first = pl.col("starts_on")
    last = pl.when(pl.col("period") == "month").then(first.dt.month_end()).otherwise(first)
    rows = amounts.with_row_index("_row").with_columns(until=last, since=first - pl.duration(days=rate_days))
    rows = rows.join(table_rates(rows, rates, home), on="_row", how="left", maintain_order="left")
    choices = {
        "home": (pl.col("currency") == home, pl.lit("1")),
        "table": (pl.col("_day") >= first, pl.col("_rate")),
        "table_earlier": (pl.col("_day").is_not_null(), pl.col("_rate")),
    }
    rows = rows.with_columns(
        home_currency=pl.lit(home),
        rate_source=pl.coalesce(*(pl.when(holds).then(pl.lit(name)) for name, (holds, _) in choices.items())),
        rate=pl.coalesce(*(pl.when(holds).then(rate) for holds, rate in choices.values())),
    ).with_columns(rate_on=pl.when(pl.col("rate_source").str.starts_with("table")).then("_day"))
    at_home = convert(rows["amount"], rows["currency"], rows["rate"], home)
    return rows.with_columns(amount_home=at_home).select(*amounts.columns, *COLUMNS)


COLUMNS = ("home_currency", "rate", "rate_source", "rate_on", "amount_home")
