"""Canonical events of deals: entries into stages, skipped stages and changes of price, with the values then."""

from __future__ import annotations

import polars as pl

from crm_attribution import identifiers
from crm_attribution.events.rules.deal_stages import named_stages
from crm_attribution.events.rules.events import (
    IMPORTED_SOURCES,
    Source,
    as_of,
    hubspot_time,
    lost_entries,
    own_history,
    slipped,
    transitions,
)
from crm_attribution.events.rules.values import measures, needed_properties
from crm_attribution.mapping import Deals, Rules
from crm_attribution.money import CURRENCY

PRICE = ["amount", "deal_currency_code"]


def deal_events(
    source: Source,
    stages: pl.DataFrame,
    rules: Deals,
    mapping: Rules,
    currency: str | None,
    meanings: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """events.event columns of deals, with the deal's money as of that moment.

    Entering a won or lost stage is always `deal_won` or `deal_lost`; an open stage after a closed one, moved back to
    or entered again is `deal_reopened`, and in addition, where the deal was never in that stage before, the stage's own
    event; a slip does not count as having been there; an open stage jumped over is
    `stage_skipped`. The pipeline of an event is the one that owns the stage, else the deal's of that moment. A price
    that changes is `deal_amount_changed`.

    Args:
        source: deals.
        stages: raw.pipeline_stage rows.
        rules: the stage map.
        mapping: values and version.
        currency: the account's home currency, for deals that name none.
        meanings: raw.stage_meaning rows; None where every stage always meant what it means now.
    """
    history = own_history(source)
    entered = lost_entries(source, history, stages["stage_id"].to_list())
    entries = as_of(transitions(history, "dealstage", entered), source, history, ["pipeline"])
    rows = _named(named_stages(entries, history, stages, meanings, rules), rules, mapping)
    moved = rows.filter("emits").with_columns(_key="stage")
    events = pl.concat([moved, _reopened(rows), _skipped(rows, stages, mapping)], how="diagonal")
    events = _valued(events, source, history, mapping, currency)
    priced = _amount_changes(source, history, rows, mapping, currency)
    events = _deal_times(pl.concat([events, priced], how="diagonal"), source.records)
    return _event_rows(events, mapping)


def _named(rows: pl.DataFrame, rules: Deals, mapping: Rules) -> pl.DataFrame:
    """Add event, undone and `_furthest`, the furthest open position in the pipeline before.

    A stage is undone where it was left backwards, closed and left, cleared, or left for another tracked pipeline;
    moving on into a pipeline the mapping ignores (onboarding, delivery) undoes nothing.
    """
    following = pl.col("pipeline").shift(-1).over("object_id")
    elsewhere = (following != pl.col("pipeline")).fill_null(False)
    tracked = following.is_in(rules.tracked)
    next_order = pl.when(~pl.col("_closed").shift(-1)).then(pl.col("display_order").shift(-1)).over("object_id")
    back = pl.col("_closed") | (next_order < pl.col("display_order")) | (pl.col("next_stage") == "")
    undone = pl.col("left_at").is_not_null() & pl.when(elsewhere).then(tracked).otherwise(back)
    rows = rows.with_columns(undone=undone.fill_null(False))
    stayed = ~slipped("changed_at", mapping)
    open_order = pl.when(~pl.col("_closed")).then(pl.col("display_order"))
    furthest = pl.when(stayed).then(open_order).cum_max().forward_fill().shift(1).over("object_id", "pipeline")
    was_closed = pl.when(stayed).then("_closed").forward_fill().shift(1).over("object_id").fill_null(False)
    again = ~pl.col("_closed") & (was_closed | (open_order <= furthest).fill_null(False))
    been = (stayed.cast(pl.Int64).cum_sum() - stayed.cast(pl.Int64)).over("object_id", "stage") > 0
    before = pl.col("_name").shift(1).over("object_id")
    strange = pl.col("_unknown").shift(1).over("object_id").fill_null(False)
    return rows.with_columns(
        event=pl.when(again & been).then(pl.lit("deal_reopened")).otherwise("_name"),
        began=pl.col("first") | strange,
        _furthest=furthest,
        _again=again,
        _new_again=again & ~been,
        _closed_before=pl.col("_closed") & (strange | (before == pl.col("_name")).fill_null(False)),
    )


def _reopened(rows: pl.DataFrame) -> pl.DataFrame:
    """One `deal_reopened` in addition to each entry into an open stage that is new to the deal but a step back."""
    return rows.filter(pl.col("emits") & pl.col("_new_again").fill_null(False)).with_columns(
        event=pl.lit("deal_reopened"), _key=pl.lit("reopened_") + pl.col("stage")
    )


def _skipped(rows: pl.DataFrame, stages: pl.DataFrame, mapping: Rules) -> pl.DataFrame:
    """One row per open stage of the pipeline between the furthest so far and the one moved to; a win skips the rest.

    A deal's first stage in a pipeline skips nothing, nor does a loss.
    """
    jumps = rows.filter(
        pl.col("emits")
        & ~slipped("changed_at", mapping)
        & ~pl.col("_again")
        & (pl.col("event") != "deal_lost")
        & pl.col("_furthest").is_not_null()
    )
    between = stages.filter(~pl.col("is_closed")).select(
        pipeline="pipeline_id", _over="stage_id", _label="stage_label", _position="display_order"
    )
    beyond = pl.col("_position") > pl.col("_furthest")
    before = pl.col("_closed") | (pl.col("_position") < pl.col("display_order"))
    return (
        jumps.join(between, on="pipeline", maintain_order="left_right")
        .filter(beyond & before & (pl.col("_over") != pl.col("stage")))
        .with_columns(
            stage="_over",
            stage_label="_label",
            event=pl.lit("stage_skipped"),
            left_at="changed_at",
            next_stage="stage",
            undone=pl.lit(False),
            first=pl.lit(False),
            began=pl.lit(False),
            _closed=pl.lit(False),
            _closed_before=pl.lit(False),
            _key=pl.lit("skipped_") + pl.col("_over"),
        )
        .drop("_over", "_label", "_position")
    )


def _amount_changes(
    source: Source, history: pl.DataFrame, stages: pl.DataFrame, mapping: Rules, currency: str | None
) -> pl.DataFrame:
    """Each change of a deal's amount or currency in a tracked pipeline, with what it was before.

    The first amount a deal gets is no change, unless the deal was won before: an amount entered with the win is not. A
    value entered again in other digits is none either.
    """
    rows = _at_stage(_valued(_price_moments(history), source, history, mapping, currency), stages)
    rows = rows.sort("object_id", "changed_at").with_columns(
        amount_before=pl.col("amount").shift(1).over("object_id"),
        currency_before=pl.col("currency").shift(1).over("object_id"),
    )
    other = pl.col("amount").ne_missing(pl.col("amount_before")) | (
        pl.col("currency").ne_missing(pl.col("currency_before")) & pl.col("amount_before").is_not_null()
    )
    counts = pl.col("amount_before").is_not_null() | pl.col("_was_won").fill_null(False)
    return rows.filter(
        pl.col("emits") & other & counts & pl.col("pipeline").is_in(mapping.deals.tracked).fill_null(False)
    ).with_columns(
        event=pl.lit("deal_amount_changed"),
        from_stage="stage",
        undone=pl.lit(False),
        first=pl.lit(False),
        began=pl.lit(False),
        dated=pl.lit(False),
        _closed=pl.lit(False),
        _closed_before=pl.lit(False),
        _key=pl.lit("amount"),
    )


def _price_moments(history: pl.DataFrame) -> pl.DataFrame:
    """The moments at which a deal's amount or currency was written, each once: object_id, record_id, changed_at (UTC),
    source, ordinal, and emits (whether the deal itself wrote it, or a merge copied it)."""
    strange = pl.col("copied") | pl.col("by_merge")
    return (
        history.filter(pl.col("property").is_in(PRICE) & (~strange | pl.col("born")))
        .with_columns(_emits=~strange)
        .sort("object_id", "timestamp", "_emits", "ordinal")
        .group_by("object_id", "record_id", "timestamp", maintain_order=True)
        .agg(source=pl.col("source_type").last(), emits=pl.col("_emits").any())
        .rename({"timestamp": "changed_at"})
        .with_columns(ordinal=pl.lit(0, pl.Int64))
    )


def _at_stage(moments: pl.DataFrame, stages: pl.DataFrame) -> pl.DataFrame:
    """Add the stage a deal was in at `changed_at`, and `_was_won`: whether the stage before that moment was a win."""
    held = (
        stages.drop_nulls("stage")
        .sort("changed_at", "ordinal")
        .select("object_id", "changed_at", "stage", "stage_label", "pipeline", _was_won=pl.col("_name") == "deal_won")
        .unique(["object_id", "changed_at"], keep="last", maintain_order=True)
    )
    rows = moments.sort("changed_at").join_asof(
        held.drop("_was_won"), on="changed_at", by="object_id", check_sortedness=False
    )
    return rows.join_asof(
        held.select("object_id", "changed_at", "_was_won"),
        on="changed_at",
        by="object_id",
        allow_exact_matches=False,
        check_sortedness=False,
    )


def _valued(
    rows: pl.DataFrame, source: Source, history: pl.DataFrame, mapping: Rules, currency: str | None
) -> pl.DataFrame:
    names = sorted({*needed_properties(mapping.values), "deal_currency_code", "hubspot_owner_id", "closedate"})
    rows = as_of(rows, source, history, names)
    code = pl.col("deal_currency_code")
    rows = rows.with_columns(
        currency=pl.when(code.is_null()).then(pl.lit(currency, pl.String)).when(code.str.contains(CURRENCY)).then(code)
    )
    return measures(rows, mapping.values)


def _deal_times(rows: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """occurred_at and time_basis: HubSpot's clock, except where it only learned of the fact later: with the record's
    creation, from an import, or where the deal was closed so before, or in a stage that has no name."""
    created = records.select(
        object_id="id",
        _created=pl.coalesce(hubspot_time(pl.col("properties").str.json_path_match("$.createdate")), "created_at"),
    )
    rows = rows.join(created, on="object_id", how="left", maintain_order="left")
    imported = pl.col("source").is_in(IMPORTED_SOURCES).fill_null(False)
    learned_late = pl.col("first") | imported | pl.col("_closed_before")
    closed_before = learned_late & pl.col("_closed") & (hubspot_time(pl.col("closedate")) < pl.col("changed_at"))
    created_before = pl.col("first") & ~pl.col("_closed") & (pl.col("_created") < pl.col("changed_at"))
    return rows.with_columns(
        occurred_at=pl.when(closed_before.fill_null(False))
        .then(hubspot_time(pl.col("closedate")))
        .when(created_before.fill_null(False))
        .then("_created")
        .otherwise("changed_at"),
        time_basis=pl.when(closed_before.fill_null(False))
        .then(pl.lit("closedate"))
        .when(created_before.fill_null(False))
        .then(pl.lit("createdate"))
        .when("dated")
        .then(pl.lit("date_entered"))
        .otherwise(pl.lit("history")),
    )


def _event_rows(rows: pl.DataFrame, mapping: Rules) -> pl.DataFrame:
    rows = rows.sort("object_id", "changed_at", "ordinal", "_key")
    ids = [identifiers.deal_event_id(*row) for row in rows.select("object_id", "_key", "changed_at").iter_rows()]
    return rows.select(
        "event",
        "occurred_at",
        "time_basis",
        "source",
        "object_id",
        "record_id",
        "from_stage",
        "left_at",
        "next_stage",
        "undone",
        "pipeline",
        "currency",
        "amount",
        "mrr",
        "arr",
        "tcv",
        "value_reason",
        "billing_period",
        "began",
        "amount_before",
        "currency_before",
        event_id=pl.Series(ids, dtype=pl.String),
        observed_at="changed_at",
        object_type=pl.lit("deals"),
        deal_id="object_id",
        to_stage="stage",
        hubspot_label="stage_label",
        owner_id="hubspot_owner_id",
        mapping_version=pl.lit(mapping.version),
    ).unique("event_id", keep="first", maintain_order=True)
