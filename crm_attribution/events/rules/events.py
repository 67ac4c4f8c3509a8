"""Input of canonical events: property histories, the part of them that is a record's own, and values as of a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.mapping import Rules

IMPORTED_SOURCES = ["IMPORT", "MIGRATION", "INTEGRATION"]
"""sourceType values with which HubSpot only learned of something that had happened before."""


MERGED = "MERGE_OBJECTS"
"""sourceType of the values a merge writes on the surviving record."""

ONE_READING = timedelta(minutes=10)
"""Records read within this time of each other were read by one run."""

SEQUENCE = ["object_id", "timestamp", "ordinal"]


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
    live: Mapping[int, int]


def own_history(source: Source) -> pl.DataFrame:
    """The history with what HubSpot copied in a merge distinguished from what happened to the record itself.

    A row is a copy where a record that was absorbed has the same value at the same time. Two records may really have
    had it at the same millisecond: then the row is the record's own if we read it while the absorbed record was still
    being read under its own id, or before the reading that showed a merge. Where we did not, HubSpot's answer is the
    same either way, and the fact counts once. Of rows that may all be copies the one read first is the fact.

    Returns:
        the history's columns and record_id (the live record), copied, by_merge (written by the merge itself), born (the
        record is younger than all copies, and nothing of its own was read before them: a merge made it).
    """
    rows = source.history.with_columns(
        record_id=pl.col("object_id").replace(dict(source.live)) if source.live else pl.col("object_id"),
        by_merge=(pl.col("source_type") == MERGED).fill_null(False),
    )
    merged = (rows["object_id"] != rows["record_id"]).any()
    if not merged and not rows["by_merge"].any():
        return rows.with_columns(copied=pl.lit(False), born=pl.lit(False))
    rows = _mark_copies(rows)
    created = source.records.select(object_id="id", _created="created_at")
    rows = rows.join(created, on="object_id", how="left", maintain_order="left")
    copy, own = pl.col("copied"), ~pl.col("copied") & ~pl.col("by_merge")
    younger = pl.col("_created") >= pl.col("timestamp").filter(copy).max().over("object_id")
    first_read = pl.col("extracted_at").filter(own).min().over("object_id")
    known_before = (first_read < pl.col("extracted_at").filter(copy).min().over("object_id")).fill_null(False)
    return rows.with_columns(born=younger.fill_null(False) & ~known_before).drop("_created")


def _mark_copies(rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_row_index("_row").with_columns(_last=pl.col("extracted_at").max().over("object_id"))
    fact = ["record_id", "property", "timestamp", "value"]
    written = rows.filter(~pl.col("by_merge"))
    absorbed = written.filter(pl.col("object_id") != pl.col("record_id")).select(
        *fact, _other="object_id", _alive="_last"
    )
    alike = (
        written.join(absorbed, on=fact, nulls_equal=True)
        .filter(pl.col("object_id") != pl.col("_other"))
        .group_by("_row")
        .agg(_alive=pl.col("_alive").min())
    )
    shown = (
        rows.filter("by_merge")
        .group_by("object_id", _merged="timestamp")
        .agg(_shown=pl.col("extracted_at").min())
        .sort("_merged")
    )
    alike_rows = (
        written.join(alike, on="_row")
        .sort("timestamp")
        .join_asof(
            shown, left_on="timestamp", right_on="_merged", by="object_id", strategy="forward", check_sortedness=False
        )
    )
    read_before = (pl.col("extracted_at") <= pl.col("_alive") + ONE_READING) | (
        pl.col("extracted_at") < pl.col("_shown")
    ).fill_null(False)
    copies = alike_rows.filter(~read_before)
    place = ["extracted_at", "object_id"]
    elected = (
        copies.join(written.join(copies, on="_row", how="anti"), on=fact, how="anti", nulls_equal=True)
        .sort(place)
        .unique(fact, keep="first", maintain_order=True)
    )
    copied = copies.join(elected, on="_row", how="anti")["_row"]
    return rows.with_columns(copied=pl.col("_row").is_in(copied.implode())).drop("_row", "_last")


def transitions(history: pl.DataFrame, name: str, entered: pl.DataFrame | None = None) -> pl.DataFrame:
    """Entries into the values of a property that are this record's own: what HubSpot copied in a merge is not.

    A record made by a merge has no history of its own before it: there the copies show what came before. A record that
    existed before keeps its own sequence, so that a merge changes none of its events.

    Args:
        history: from `own_history`.
        name: lifecyclestage, dealstage, hs_lead_status.
        entered: object_id, record_id, timestamp, value of entries that stand in no history, see `lost_entries`.

    Returns:
        object_id, record_id, changed_at, stage, from_stage, left_at, next_stage, source, dated (from `entered`), first
        (came with creation), emits.
    """
    rows = history.filter(pl.col("property") == name).with_columns(
        stage=pl.when(pl.col("value") != "").then(pl.col("value")), dated=pl.lit(False)
    )
    truncated = pl.col("history_truncated").sort_by("timestamp", "ordinal").first().over("object_id")
    rows = rows.with_columns(_truncated=truncated)
    if entered is not None and entered.height:
        lost = entered.with_columns(
            stage="value", dated=True, _truncated=True, ordinal=0, copied=False, by_merge=False, born=False
        ).with_columns(pl.col("ordinal").cast(rows.schema["ordinal"]))
        rows = pl.concat([rows, lost], how="diagonal")
    strange = pl.col("copied") | pl.col("by_merge")
    kept = rows.filter(~strange | pl.col("born")).sort(SEQUENCE)
    previous = pl.col("stage").shift(1).over("object_id")
    place = pl.int_range(pl.len()).over("object_id")
    moved = kept.filter(pl.col("stage").ne_missing(previous) | (place == 0)).sort(SEQUENCE)
    return (
        moved.with_columns(
            from_stage=pl.col("stage").shift(1).over("object_id"),
            left_at=pl.col("timestamp").shift(-1).over("object_id"),
            next_stage=pl.col("value").shift(-1).over("object_id").fill_null(""),
            first=(place == 0) & ~pl.col("_truncated"),
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
            "dated",
            emits=~strange & pl.col("stage").is_not_null(),
            changed_at="timestamp",
            source="source_type",
        )
    )


def lost_entries(source: Source, history: pl.DataFrame, stages: Sequence[str]) -> pl.DataFrame:
    """First entries into stages that HubSpot's cap has cut off the history, by `hs_v2_date_entered_<stage>`.

    Only records whose oldest value was first read at the cap can have lost any; dates within the history add nothing.

    Returns:
        object_id, record_id, timestamp, value.
    """
    oldest = (
        history.filter(pl.col("property") == OBJECT_TYPES[source.object_type].stage_property)
        .sort("timestamp", "ordinal")
        .group_by("object_id", "record_id")
        .agg(_oldest=pl.col("timestamp").first(), _cut=pl.col("history_truncated").first())
        .filter("_cut")
    )
    records = source.records.join(oldest, left_on="id", right_on="object_id", how="semi")
    dates = stage_dates(records, stages, "hs_v2_date_entered_{}")
    return (
        dates.join(oldest, on="object_id")
        .filter(pl.col("at") < pl.col("_oldest"))
        .select("object_id", "record_id", timestamp="at", value="stage")
        .sort("object_id", "timestamp", "value")
    )


def stage_dates(records: pl.DataFrame, stages: Sequence[str], *names: str) -> pl.DataFrame:
    """object_id, stage, at: the dates records carry for stages, from the first of the named properties that has one."""
    empty = pl.DataFrame(schema={"object_id": pl.Int64, "stage": pl.String, "at": pl.Datetime("us", "UTC")})
    if records.is_empty():
        return empty
    found = [
        records.select(
            object_id="id",
            stage=pl.lit(stage, pl.String),
            at=pl.coalesce(
                hubspot_time(pl.col("properties").str.json_path_match(f"$['{name.format(_quoted(stage.lower()))}']"))
                for name in names
            ),
        ).drop_nulls("at")
        for stage in stages
    ]
    return pl.concat([empty, *found])


def _quoted(stage: str) -> str:
    return stage.replace("'", "")


def as_of(rows: pl.DataFrame, source: Source, history: pl.DataFrame, properties: Sequence[str]) -> pl.DataFrame:
    """Add each property's value as of `changed_at`; the current value where HubSpot gave no history for it."""
    current = source.records.select(
        object_id="id", **{f"_now_{name}": pl.col("properties").str.json_path_match(f"$.{name}") for name in properties}
    )
    own = history.filter(~pl.col("copied") | pl.col("born")).sort(SEQUENCE)
    rows = rows.join(current, on="object_id", how="left", maintain_order="left").sort("changed_at")
    for name in properties:
        values = (
            own.filter(pl.col("property") == name)
            .unique(["object_id", "timestamp"], keep="last", maintain_order=True)
            .select("object_id", pl.col("timestamp").alias("changed_at"), pl.col("value").alias(name))
            .sort("changed_at")
        )
        has = values.select("object_id").unique().with_columns(_has=pl.lit(True))
        rows = (
            rows.join_asof(values, on="changed_at", by="object_id", check_sortedness=False)
            .join(has, on="object_id", how="left", maintain_order="left")
            .with_columns(pl.when(pl.col("_has").is_null()).then(f"_now_{name}").otherwise(name).alias(name))
            .drop("_has", f"_now_{name}")
            .with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name))
        )
    return rows.sort("object_id", "changed_at", "ordinal")


def slipped(entered: str, mapping: Rules) -> pl.Expr:
    """Whether a stage was left backwards or cleared so soon that it counts as a mistake."""
    settle = timedelta(minutes=mapping.milestones.settle_minutes)
    return (pl.col("undone") & (pl.col("left_at") - pl.col(entered) <= settle)).fill_null(False)


def hubspot_time(text: pl.Expr) -> pl.Expr:
    """A HubSpot date or datetime (ISO 8601 or epoch milliseconds as text) as an instant; null where it is neither."""
    millis = text.str.extract(r"^(-?\d{9,15})$").cast(pl.Int64, strict=False).cast(pl.Datetime("ms", "UTC"))
    padded = text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00Z")
    moment = padded.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return pl.coalesce(moment, millis.cast(pl.Datetime("us", "UTC")))
