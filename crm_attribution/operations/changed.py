"""Why a month has changed: the rows of marts.restatement since an instant, from the published file."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from crm_attribution.errors import ConfigurationError
from crm_attribution.marts import query
from crm_attribution.settings import Settings
from crm_attribution.warehouse.connection import Warehouse

_SHOWN = ("measure", "currency", "channel", "old", "new", "delta", "cause", "cause_table", "cause_key")


def changed(given: Settings, since: datetime, month: str | None = None) -> pl.DataFrame:
    """marts.restatement rows recorded after an instant, of one booked month where it is given (`YYYY-MM`).

    Raises:
        ConfigurationError: when nothing is published yet, or the month is none.
    """
    where = f"recorded_at > TIMESTAMP '{since:%Y-%m-%d %H:%M:%S.%f}'"
    if month is not None:
        where += f" AND booked_month = DATE '{_first_day(month)}'"
    return query.read(
        Warehouse(given.data_dir).finance_path,
        f"SELECT * FROM marts.restatement WHERE {where}"
        " ORDER BY booked_month, milestone, milestone_id, recorded_at, basis, model, scope, measure, currency, channel",
    )


def brief(rows: pl.DataFrame, model: str | None = None) -> pl.DataFrame:
    """For people: outcomes and ARR (or the amount, where an outcome has no ARR) of one model in its own currency."""
    names = sorted(rows["model"].unique())
    if model is not None and names and model not in names:
        raise ConfigurationError(f"no figure of the model {model!r} changed; there are {', '.join(names)}")
    wanted = model or next(iter(names), "")
    mine = rows.filter((pl.col("basis") == "own") & (pl.col("model") == wanted))
    recurring = mine.filter(pl.col("measure") == "arr").select("milestone", "milestone_id").unique()
    single = mine.filter(pl.col("measure") == "amount").join(recurring, on=["milestone", "milestone_id"], how="anti")
    kept = pl.concat([mine.filter(pl.col("measure").is_in(["count", "arr"])), single])
    order = ["booked_month", "milestone", "milestone_id", "recorded_at", "measure", "channel"]
    month = pl.col("booked_month").dt.strftime("%Y-%m").alias("month")
    return kept.sort(order).select("recorded_at", month, "milestone", "deal_id", *_SHOWN)


def at_home_alone(rows: pl.DataFrame) -> int:
    """How many figures moved in the home currency and not in their own."""
    figure = ["recorded_at", "milestone", "milestone_id", "model", "scope", "measure", "channel"]
    home, own = (rows.filter(pl.col("basis") == basis) for basis in ("home", "own"))
    return home.join(own, on=figure, how="anti").height


def _first_day(month: str) -> date:
    try:
        return datetime.strptime(month, "%Y-%m").date()  # noqa: DTZ007 - a month has no zone
    except ValueError:
        raise ConfigurationError(f"month {month!r} is none: write it as 2026-03") from None
