"""Canonical events of contacts and companies: entries into lifecycle stages, stages jumped over, leads recycled."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crm_attribution import identifiers
from crm_attribution.events.rules.events import (
    IMPORTED_SOURCES,
    Source,
    as_of,
    lost_entries,
    own_history,
    slipped,
    stage_dates,
    transitions,
)
from crm_attribution.events.rules.values import has_choice
from crm_attribution.mapping import Lifecycle, Rules

LEAD_STATUS = "hs_lead_status"


def lifecycle_events(source: Source, rules: Lifecycle, mapping: Rules) -> pl.DataFrame:
    """events.event columns for lifecycle stages of contacts or companies, without account fields.

    A stage moved back to, or entered again, is `lead_recycled`, and so is a lead status the mapping names, unless the
    stage says it already; a stage the map does not know is `crm_stage_changed`; a stage jumped over is
    `stage_skipped`. A slip does not count as having been there: the true entry after it is the first.
    """
    history = own_history(source)
    rows = transitions(history, "lifecyclestage", lost_entries(source, history, list(rules.stages)))
    rows = _named(rows, rules, mapping)
    moved = rows.filter("emits").with_columns(_key="stage")
    recycled = _recycled_status(history, moved, rules, mapping)
    events = pl.concat([moved, _skipped(rows, rules, mapping), recycled], how="diagonal").sort(
        "object_id", "changed_at", "ordinal", "_key"
    )
    dates = stage_dates(
        source.records, moved["stage"].unique().sort().to_list(), "hs_lifecyclestage_{}_date", "hs_v2_date_entered_{}"
    )
    events = events.join(dates.rename({"at": "_became"}), on=["object_id", "stage"], how="left", maintain_order="left")
    events = as_of(events, source, history, ["hubspot_owner_id"])
    return _event_rows(events, source, mapping)


def _named(rows: pl.DataFrame, rules: Lifecycle, mapping: Rules) -> pl.DataFrame:
    """Add event, undone, `_rank` and `_furthest`, the furthest stage before."""
    rank = {stage: position for position, stage in enumerate(rules.order)}
    lower = pl.col("stage").str.to_lowercase()
    rows = rows.with_columns(_rank=lower.replace_strict(rank, default=None, return_dtype=pl.Int64))
    next_rank = pl.col("next_stage").str.to_lowercase().replace_strict(rank, default=None, return_dtype=pl.Int64)
    undone = (pl.col("next_stage") == "") | (next_rank < pl.col("_rank"))
    rows = rows.with_columns(undone=undone.fill_null(False))
    stayed = pl.when(~slipped("changed_at", mapping)).then(pl.col("_rank"))
    rows = rows.with_columns(_furthest=stayed.cum_max().forward_fill().shift(1).over("object_id"))
    again = (pl.col("_rank") <= pl.col("_furthest")).fill_null(False)
    return rows.with_columns(
        event=pl.when(again)
        .then(pl.lit("lead_recycled"))
        .otherwise(lower.replace_strict(rules.stages, default="crm_stage_changed", return_dtype=pl.String))
    )


def _skipped(rows: pl.DataFrame, rules: Lifecycle, mapping: Rules) -> pl.DataFrame:
    """One row per stage between the furthest so far and the one jumped to. A first stage skips nothing, and a stage of
    the same canonical event as either end is not skipped."""
    jumps = rows.filter(pl.col("emits") & ~slipped("changed_at", mapping) & (pl.col("_rank") > pl.col("_furthest") + 1))
    names = dict(enumerate(rules.order))
    kinds = {place: rules.stages.get(stage, "crm_stage_changed") for place, stage in names.items()}
    over, near, far = (
        pl.col(name).replace_strict(kinds, default=None, return_dtype=pl.String)
        for name in ("_over", "_furthest", "_rank")
    )
    return (
        jumps.with_columns(_over=pl.int_ranges(pl.col("_furthest") + 1, pl.col("_rank")))
        .explode("_over")
        .filter((over != near) & (over != far))
        .with_columns(
            stage=pl.col("_over").replace_strict(names, return_dtype=pl.String),
            event=pl.lit("stage_skipped"),
            left_at="changed_at",
            next_stage="stage",
            undone=pl.lit(False),
            first=pl.lit(False),
        )
        .with_columns(_key=pl.lit("skipped:") + pl.col("stage"))
        .drop("_over")
    )


def _recycled_status(history: pl.DataFrame, moved: pl.DataFrame, rules: Lifecycle, mapping: Rules) -> pl.DataFrame:
    """Entries into a lead status that means recycled, where the lifecycle stage does not show it within settle time."""
    rows = transitions(history, LEAD_STATUS)
    means, meant = (has_choice(pl.col(name), rules.recycled_lead_status) for name in ("stage", "from_stage"))
    rows = rows.filter(pl.col("emits") & means & ~meant)
    rows = rows.with_columns(
        event=pl.lit("lead_recycled"), undone=pl.lit(False), _key=pl.lit(f"{LEAD_STATUS}:") + pl.col("stage")
    ).with_row_index("_row")
    known = moved.filter(pl.col("event") == "lead_recycled").select("record_id", _at="changed_at")
    settle = timedelta(minutes=mapping.milestones.settle_minutes)
    twice = rows.join(known, on="record_id").filter((pl.col("_at") - pl.col("changed_at")).abs() <= settle)
    return rows.join(twice.select("_row").unique(), on="_row", how="anti").drop("_row")


def _event_rows(rows: pl.DataFrame, source: Source, mapping: Rules) -> pl.DataFrame:
    learned_late = (pl.col("first") | pl.col("source").is_in(IMPORTED_SOURCES)) & (
        pl.col("_became") < pl.col("changed_at")
    )
    late = learned_late.fill_null(False)
    ids = [
        identifiers.lifecycle_event_id(source.object_type, *row)
        for row in rows.select("object_id", "_key", "changed_at").iter_rows()
    ]
    return rows.select(
        "event",
        "source",
        "object_id",
        "record_id",
        "from_stage",
        "left_at",
        "next_stage",
        "undone",
        event_id=pl.Series(ids, dtype=pl.String),
        occurred_at=pl.when(late).then("_became").otherwise("changed_at"),
        observed_at="changed_at",
        time_basis=pl.when(late)
        .then(pl.lit("became_date"))
        .when("dated")
        .then(pl.lit("date_entered"))
        .otherwise(pl.lit("history")),
        object_type=pl.lit(source.object_type),
        contact_id="object_id" if source.object_type == "contacts" else pl.lit(None, pl.Int64),
        to_stage="stage",
        owner_id="hubspot_owner_id",
        mapping_version=pl.lit(mapping.version),
    ).unique("event_id", keep="first", maintain_order=True)
