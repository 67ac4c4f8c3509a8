"""Canonical events from property history: each entry into a stage, told once, at the time of the business action."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from crm_attribution import identifiers
from crm_attribution.mapping import Deals, Lifecycle, Mapping
from crm_attribution.transforms.values import measures, needed_properties

IMPORTED_SOURCES = ["IMPORT", "MIGRATION", "INTEGRATION"]
"""sourceType values with which HubSpot only learned of something that had happened before."""

STAGE_PROPERTY = {"contacts": "lifecyclestage", "companies": "lifecyclestage", "deals": "dealstage"}

_SEQUENCE = ["object_id", "timestamp", "ordinal"]


@dataclass(frozen=True)
class Source:
    """What the events of one object type are made of.

    Attributes:
        object_type: contacts, companies or deals.
        records: id, created_at, properties (JSON text), and for deals currency.
        history: raw.property_history rows of these objects and of every record they absorbed.
        live: absorbed id -> live id.
    """

    object_type: str
    records: pl.DataFrame
    history: pl.DataFrame
    live: dict[str, str]


def transitions(source: Source) -> pl.DataFrame:
    """Entries into stages that are this record's own: what HubSpot copied from an absorbed record is not.

    Returns:
        object_id, record_id, changed_at, stage, from_stage, left_at, next_stage, source, first (came with creation).
    """
    stage = source.history.filter(pl.col("property") == STAGE_PROPERTY[source.object_type]).with_columns(
        record_id=pl.col("object_id").replace(source.live) if source.live else pl.col("object_id"),
        stage=pl.when(pl.col("value") != "").then(pl.col("value")),
    )
    absorbed = stage.filter(pl.col("object_id") != pl.col("record_id")).select("record_id", "timestamp", "value")
    copied = stage.join(
        absorbed.unique().with_columns(object_id="record_id", _copied=pl.lit(True)).drop("record_id"),
        on=["object_id", "timestamp", "value"],
        how="left",
        nulls_equal=True,
    ).with_columns(
        _copied=pl.col("_copied").fill_null(False) | (pl.col("source_type") == "MERGE_OBJECTS").fill_null(False)
    )
    # A record born of a merge has no own life before it: there the copies tell what came before. A record that
    # lived on keeps its own sequence, so that a merge changes none of its events.
    first_own = pl.col("timestamp").filter(~pl.col("_copied")).min().over("object_id")
    last_copy = pl.col("timestamp").filter(pl.col("_copied")).max().over("object_id")
    born_of_merge = (first_own >= last_copy).fill_null(False)
    kept = copied.filter(~pl.col("_copied") | born_of_merge).sort(_SEQUENCE)
    previous = pl.col("stage").shift(1).over("object_id")
    moved = kept.filter(pl.col("stage").ne_missing(previous) | (pl.int_range(pl.len()).over("object_id") == 0)).sort(
        _SEQUENCE
    )
    return (
        moved.with_columns(
            from_stage=pl.col("stage").shift(1).over("object_id"),
            left_at=pl.col("timestamp").shift(-1).over("object_id"),
            next_stage=pl.col("value").shift(-1).over("object_id").fill_null(""),
            first=pl.int_range(pl.len()).over("object_id") == 0,
        )
        .with_columns(next_stage=pl.when(pl.col("left_at").is_not_null()).then("next_stage"))
        .select(
            "object_id",
            "record_id",
            "stage",
            "from_stage",
            "left_at",
            "next_stage",
            "first",
            "ordinal",
            emits=~pl.col("_copied") & pl.col("stage").is_not_null(),
            changed_at="timestamp",
            source="source_type",
        )
    )


def lifecycle_events(source: Source, rules: Lifecycle, mapping: Mapping) -> pl.DataFrame:
    """events.event columns for lifecycle stages of contacts or companies, without account fields.

    A stage moved back to, or entered again, is `lead_recycled`; a stage the map does not know `crm_stage_changed`.
    A slip does not count as having been there: the true entry after it is the first.
    """
    rows = transitions(source)
    rank = {stage: position for position, stage in enumerate(rules.order)}
    lower = pl.col("stage").str.to_lowercase()
    rows = rows.with_columns(_rank=lower.replace_strict(rank, default=None, return_dtype=pl.Int64))
    next_rank = pl.col("next_stage").str.to_lowercase().replace_strict(rank, default=None, return_dtype=pl.Int64)
    undone = (pl.col("next_stage") == "") | (next_rank < pl.col("_rank"))
    rows = rows.with_columns(undone=undone.fill_null(False))
    stayed = pl.when(~slipped("changed_at", mapping)).then(pl.col("_rank"))
    furthest = stayed.cum_max().forward_fill().shift(1).over("object_id")
    rows = rows.with_columns(_again=(pl.col("_rank") <= furthest).fill_null(False))
    rows = rows.with_columns(
        event=pl.when("_again")
        .then(pl.lit("lead_recycled"))
        .otherwise(lower.replace_strict(rules.stages, default="crm_stage_changed", return_dtype=pl.String))
    ).filter("emits")
    became = _became(rows, source.records, lower)
    rows = rows.join(became, on=["object_id", "stage"], how="left", maintain_order="left")
    late = (pl.col("first") | pl.col("source").is_in(IMPORTED_SOURCES)) & (pl.col("_became") < pl.col("changed_at"))
    ids = [
        identifiers.lifecycle_event_id(source.object_type, *row)
        for row in rows.select("object_id", "stage", "changed_at").iter_rows()
    ]
    return rows.select(
        event_id=pl.Series(ids, dtype=pl.String),
        event="event",
        occurred_at=pl.when(late.fill_null(False)).then("_became").otherwise("changed_at"),
        observed_at="changed_at",
        time_basis=pl.when(late.fill_null(False)).then(pl.lit("became_date")).otherwise(pl.lit("history")),
        source="source",
        object_type=pl.lit(source.object_type),
        object_id="object_id",
        record_id="record_id",
        contact_id="object_id" if source.object_type == "contacts" else pl.lit(None, pl.String),
        from_stage="from_stage",
        to_stage="stage",
        left_at="left_at",
        next_stage="next_stage",
        undone="undone",
        mapping_version=pl.lit(mapping.version),
    )


def deal_events(
    source: Source, stages: pl.DataFrame, rules: Deals, mapping: Mapping, currency: str | None
) -> pl.DataFrame:
    """events.event columns for deal stages, with the deal's money as of that moment.

    Entering a won or lost stage is always `deal_won` or `deal_lost`; an open stage after a closed one, moved back to
    or entered again is `deal_reopened`; a slip does not count as having been there. The pipeline of an event is the one
    that owns the stage.

    Args:
        source: deals.
        stages: raw.pipeline_stage rows.
        rules: the stage map.
        mapping: values and version.
        currency: the account's home currency, for deals that name none.
    """
    rows = _with_stage_facts(transitions(source), stages, rules)
    next_order = pl.when(~pl.col("_closed").shift(-1)).then(pl.col("display_order").shift(-1)).over("object_id")
    undone = pl.col("left_at").is_not_null() & (pl.col("_closed") | (next_order < pl.col("display_order")))
    rows = rows.with_columns(undone=undone.fill_null(False))
    stayed = ~slipped("changed_at", mapping)
    open_order = pl.when(~pl.col("_closed")).then(pl.col("display_order"))
    furthest = pl.when(stayed).then(open_order).cum_max().forward_fill().shift(1).over("object_id", "pipeline")
    was_closed = pl.when(stayed).then("_closed").forward_fill().shift(1).over("object_id").fill_null(False)
    again = ~pl.col("_closed") & (was_closed | (open_order <= furthest).fill_null(False))
    rows = rows.with_columns(event=pl.when(again).then(pl.lit("deal_reopened")).otherwise("_name")).filter("emits")
    rows = _as_of(rows, source, _deal_properties(mapping))
    rows = rows.with_columns(currency=pl.coalesce(pl.col("deal_currency_code"), pl.lit(currency, pl.String)))
    rows = measures(rows, mapping.values)
    rows = _deal_times(rows, source.records)
    ids = [identifiers.deal_event_id(*row) for row in rows.select("object_id", "stage", "changed_at").iter_rows()]
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
        event_id=pl.Series(ids, dtype=pl.String),
        observed_at="changed_at",
        object_type=pl.lit("deals"),
        deal_id="object_id",
        to_stage="stage",
        hubspot_label="stage_label",
        owner_id="hubspot_owner_id",
        mapping_version=pl.lit(mapping.version),
    )


def slipped(entered: str, mapping: Mapping) -> pl.Expr:
    """Whether a stage was left backwards or cleared so soon that it was a slip of the mouse."""
    settle = timedelta(minutes=mapping.milestones.settle_minutes)
    return (pl.col("undone") & (pl.col("left_at") - pl.col(entered) <= settle)).fill_null(False)


def _deal_properties(mapping: Mapping) -> list[str]:
    own = ["deal_currency_code", "hubspot_owner_id", "closedate"]
    return sorted({*needed_properties(mapping.values), *own})


def _with_stage_facts(rows: pl.DataFrame, stages: pl.DataFrame, rules: Deals) -> pl.DataFrame:
    facts = stages.select(
        stage="stage_id",
        pipeline="pipeline_id",
        stage_label="stage_label",
        display_order="display_order",
        _closed="is_closed",
        _won=pl.col("is_closed") & (pl.col("probability") == 1.0),
    )
    rows = rows.join(facts, on="stage", how="left", maintain_order="left")
    named = pl.col("stage").replace_strict(rules.stages, default=None, return_dtype=pl.String)
    by_metadata = (
        pl.when("_won")
        .then(pl.lit("deal_won"))
        .when("_closed")
        .then(pl.lit("deal_lost"))
        .otherwise(pl.lit("crm_stage_changed"))
    )
    rows = rows.with_columns(_name=pl.coalesce(named, by_metadata))
    return rows.with_columns(_closed=pl.col("_name").is_in(["deal_won", "deal_lost"]))


def _as_of(rows: pl.DataFrame, source: Source, properties: list[str]) -> pl.DataFrame:
    """Add each property's value as of `changed_at`; the current value where HubSpot gave no history for it."""
    current = source.records.select(
        object_id="id", **{f"_now_{name}": pl.col("properties").str.json_path_match(f"$.{name}") for name in properties}
    )
    rows = rows.join(current, on="object_id", how="left", maintain_order="left").sort("changed_at")
    for name in properties:
        told = (
            source.history.filter(pl.col("property") == name)
            .sort(_SEQUENCE)
            .unique(["object_id", "timestamp"], keep="last", maintain_order=True)
            .select("object_id", pl.col("timestamp").alias("changed_at"), pl.col("value").alias(name))
            .sort("changed_at")
        )
        has = told.select("object_id").unique().with_columns(_has=pl.lit(True))
        rows = (
            rows.join_asof(told, on="changed_at", by="object_id", check_sortedness=False)
            .join(has, on="object_id", how="left", maintain_order="left")
            .with_columns(pl.when(pl.col("_has").is_null()).then(f"_now_{name}").otherwise(name).alias(name))
            .drop("_has", f"_now_{name}")
            .with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name))
        )
    return rows.sort("object_id", "changed_at", "ordinal")


def _deal_times(rows: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """occurred_at and time_basis: HubSpot's clock, except where it only learned of the fact later."""
    created = records.select(
        object_id="id",
        _created=pl.coalesce(hubspot_time(pl.col("properties").str.json_path_match("$.createdate")), "created_at"),
    )
    rows = rows.join(created, on="object_id", how="left", maintain_order="left")
    learned_late = pl.col("first") | pl.col("source").is_in(IMPORTED_SOURCES).fill_null(False)
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
        .otherwise(pl.lit("history")),
    )


def hubspot_time(text: pl.Expr) -> pl.Expr:
    """A HubSpot date or datetime (ISO 8601 or epoch milliseconds as text) as an instant; null where it is neither."""
    millis = text.str.extract(r"^(-?\d{9,15})$").cast(pl.Int64, strict=False).cast(pl.Datetime("ms", "UTC"))
    padded = text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00Z")
    moment = padded.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return pl.coalesce(moment, millis.cast(pl.Datetime("us", "UTC")))


def _became(rows: pl.DataFrame, records: pl.DataFrame, lower: pl.Expr) -> pl.DataFrame:
    """The became-a-stage date of each (object_id, stage) in rows, where the record has one."""
    stages = rows.select("stage", _lower=lower).unique().rows()
    found = [
        records.select(
            object_id="id",
            stage=pl.lit(stage, pl.String),
            _became=hubspot_time(pl.col("properties").str.json_path_match(f"$.hs_lifecyclestage_{name}_date")),
        ).drop_nulls("_became")
        for stage, name in stages
    ]
    empty = pl.DataFrame(schema={"object_id": pl.String, "stage": pl.String, "_became": pl.Datetime("us", "UTC")})
    return pl.concat([empty, *found])
