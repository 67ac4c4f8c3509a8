"""What deal stages meant when: kept from reading to reading, since HubSpot tells only how a stage is set now."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
KEY = ["object_type", "stage_id"]
MEANING = ["is_closed", "is_won"]


def new_meanings(known: pl.DataFrame, former: pl.DataFrame, listed: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """raw.stage_meaning rows to add after a reading of the pipelines.

    A stage means from the beginning what it meant when it was first seen, and something else from when that was seen.

    Args:
        known: raw.stage_meaning rows.
        former: raw.pipeline_stage rows as they were stored before.
        listed: raw.pipeline_stage rows as HubSpot lists them.
        now: the time of the reading.
    """
    first = (
        pl.concat([_meant(former), _meant(listed)])
        .unique(KEY, keep="first", maintain_order=True)
        .join(known, on=KEY, how="anti")
        .with_columns(known_from=pl.lit(BEGINNING, pl.Datetime("us", "UTC")))
    )
    held = pl.concat([known.select(*KEY, *MEANING, "known_from"), first.select(*KEY, *MEANING, "known_from")])
    last = held.sort("known_from").unique(KEY, keep="last", maintain_order=True)
    changed = (
        _meant(listed)
        .join(last.select(*KEY, *MEANING), on=[*KEY, *MEANING], how="anti")
        .with_columns(known_from=pl.lit(now).dt.cast_time_unit("us"))
    )
    return pl.concat([first.select(held.columns), changed.select(held.columns)])


def _meant(stages: pl.DataFrame) -> pl.DataFrame:
    return stages.select(*KEY, "is_closed", is_won=is_won())


def is_won() -> pl.Expr:
    """Whether deals in a stage are won, from `is_closed` and `probability` of raw.pipeline_stage: closed, with
    probability 1."""
    return (pl.col("is_closed") & (pl.col("probability") == 1.0)).fill_null(False)
