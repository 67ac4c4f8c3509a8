"""Values in the account's home currency: the rate of each milestone, and its converted values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from crm_attribution.contracts.events import REVENUE
from crm_attribution.events.rules.deal_milestones import WINS
from crm_attribution.events.rules.rates import table_rates
from crm_attribution.events.rules.values import CREDITED
from crm_attribution.money import convert, exchange_rate, quotient, shortest

OWN_RATE, OWN_AMOUNT = "hs_exchange_rate", "amount_in_home_currency"
"""HubSpot keeps them as they were when the deal was closed; of an open deal they move."""

KEY = ["milestone", "milestone_id"]


@dataclass(frozen=True)
class Home:
    """The account's home currency.

    Attributes:
        currency: ISO 4217 code.
        since: when it was seen to change to this one. A deal closed before keeps a rate to the former one.
        time_zone: the account's, of finance days.
    """

    currency: str
    since: datetime | None
    time_zone: str


def home_values(
    milestones: pl.DataFrame, deals: pl.DataFrame, rates: pl.DataFrame, home: Home, rate_days: int
) -> pl.DataFrame:
    """events.home_value rows.

    Args:
        milestones: events.milestone rows; read are the key, state, deal_id, booked_on, currency and the columns of
            `CREDITED`. Movements of revenue as such, with state and day of the win.
        deals: deal_id Int64; currency, amount, hs_exchange_rate, amount_in_home_currency: texts, as HubSpot has them.
        rates: raw.exchange_rate rows.
        home: what is converted to.
        rate_days: how many days the last rate may lie back.
    """
    valued = milestones.filter(
        pl.col("currency").is_not_null() & pl.any_horizontal(pl.col(*CREDITED.values()).is_not_null())
    )
    rows = (
        valued.select(*KEY, "state", "deal_id", "booked_on", "currency", *CREDITED.values())
        .join(_own_rates(deals), on=["deal_id", "currency"], how="left", maintain_order="left")
        .with_row_index("_row")
    )
    asked = rows.with_columns(until="booked_on", since=pl.col("booked_on") - pl.duration(days=rate_days))
    of_table = table_rates(asked, rates, home.currency)
    rows = rows.join(of_table, on="_row", how="left", maintain_order="left")
    won = pl.col("milestone").is_in([*WINS, *REVENUE]) & (pl.col("state") == "live")
    kept = won & _closed_since(home)
    choices = {
        "home": (pl.col("currency") == home.currency, pl.lit("1")),
        "deal": (kept & pl.col("_own").is_not_null(), pl.col("_own")),
        "deal_amounts": (kept & pl.col("_quotient").is_not_null(), pl.col("_quotient")),
        "table": (pl.col("_day") == pl.col("booked_on"), pl.col("_rate")),
        "table_earlier": (pl.col("_day").is_not_null(), pl.col("_rate")),
        "deal_now": (~won & pl.col("_own").is_not_null(), pl.col("_own")),
    }
    rows = rows.with_columns(
        home_currency=pl.lit(home.currency),
        rate_source=pl.coalesce(*(pl.when(holds).then(pl.lit(name)) for name, (holds, _) in choices.items())),
        rate=pl.coalesce(*(pl.when(holds).then(rate) for holds, rate in choices.values())),
    ).with_columns(rate_on=pl.when(pl.col("rate_source").str.starts_with("table")).then("_day"))
    values = {
        f"{measure}_home": convert(rows[column], rows["currency"], rows["rate"], home.currency)
        for measure, column in CREDITED.items()
    }
    return rows.with_columns(**values).select(
        *KEY, "currency", "home_currency", "rate", "rate_source", "rate_on", *values
    )


def _closed_since(home: Home) -> pl.Expr:
    if home.since is None:
        return pl.lit(value=True)
    changed = pl.lit(home.since, pl.Datetime("us", "UTC")).dt.convert_time_zone(home.time_zone).dt.date()
    return pl.col("booked_on") >= changed


def _own_rates(deals: pl.DataFrame) -> pl.DataFrame:
    """deal_id, currency, `_own` (the deal's own rate), `_quotient` (home amount ÷ amount); null where not readable."""
    given = deals.select("currency", "amount", OWN_RATE, OWN_AMOUNT).unique()
    own = [exchange_rate(text) for text in given[OWN_RATE]]
    amounts = [_ratio(*texts) for texts in given.select(OWN_AMOUNT, "amount").iter_rows()]
    read = given.with_columns(
        _own=pl.Series([rate and shortest(rate) for rate in own], dtype=pl.String),
        _quotient=pl.Series([rate and shortest(rate) for rate in amounts], dtype=pl.String),
    )
    return deals.join(read, on=given.columns, nulls_equal=True).select("deal_id", "currency", "_own", "_quotient")


def _ratio(home: str | None, amount: str | None) -> Decimal | None:
    one, other = exchange_rate(home), exchange_rate(amount)
    return quotient(one, other) if one and other else None
