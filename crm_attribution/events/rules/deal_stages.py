"""What a deal's stage means: open, won or lost, by HubSpot's metadata as known at the time, unless the
mapping overrides it.

Where no list of pipelines names a stage (its pipeline is deleted), HubSpot's history of hs_is_closed and
hs_is_closed_won decides.
"""

from __future__ import annotations

import polars as pl

from crm_attribution.mapping import Deals
from crm_attribution.raw.rules.stage_meanings import is_won

CLOSED, OPEN = ["deal_won", "deal_lost"], "open"
IS_CLOSED, IS_WON = "hs_is_closed", "hs_is_closed_won"

_TIMES = pl.Datetime("us", "UTC")


def named_stages(
    entries: pl.DataFrame, history: pl.DataFrame, stages: pl.DataFrame, meanings: pl.DataFrame | None, rules: Deals
) -> pl.DataFrame:
    """Add to entries into deal stages: pipeline, stage_label, display_order, `_name` (canonical event), `_closed`,
    `_unknown` (nothing defines the stage).

    A stage means what it meant when the deal left it. While a deal is in it, it means what it means now.

    Args:
        entries: from `transitions`, with the deal's `pipeline` as of the entry.
        history: from `own_history`.
        stages: raw.pipeline_stage rows.
        meanings: raw.stage_meaning rows; None where every stage always meant what it means now.
        rules: the stage map; entries of the user's own outrank the metadata.
    """
    facts = stages.select(
        stage="stage_id", _owner="pipeline_id", stage_label="stage_label", display_order="display_order"
    )
    rows = (
        entries.join(facts, on="stage", how="left", maintain_order="left")
        .with_columns(pipeline=pl.coalesce("_owner", "pipeline"))
        .drop("_owner")
    )
    meant = meanings_now(stages) if meanings is None or meanings.is_empty() else meanings
    return _named(_by_history(_by_metadata(rows, meant), history), rules)


def stage_names(deals: pl.DataFrame, stages: pl.DataFrame, rules: Deals) -> pl.DataFrame:
    """Add to deals `stage_now` (canonical event of the stage the record is in; null where nothing defines it) and
    `pipeline_now`.

    Args:
        deals: stage, pipeline, hs_is_closed, hs_is_closed_won of the records as they are.
        stages: raw.pipeline_stage rows.
        rules: the stage map.
    """
    facts = stages.select(stage="stage_id", _owner="pipeline_id")
    rows = deals.join(facts, on="stage", how="left", maintain_order="left").with_columns(
        left_at=pl.lit(None, _TIMES), pipeline_now=pl.coalesce("_owner", "pipeline")
    )
    rows = _by_metadata(rows, meanings_now(stages)).with_columns(
        _is_closed=pl.coalesce("_is_closed", _truth(IS_CLOSED)), _is_won=pl.coalesce("_is_won", _truth(IS_WON))
    )
    named = _named(rows, rules).with_columns(stage_now=pl.when(~pl.col("_unknown")).then("_name"))
    return named.drop("_owner", "left_at", "_name", "_closed", "_unknown")


def stage_meanings(stages: pl.DataFrame, rules: Deals) -> pl.DataFrame:
    """events.stage rows.

    Args:
        stages: raw.pipeline_stage rows.
        rules: the stage map; entries of the user's own outrank the metadata.
    """
    rows = stages.select(stage="stage_id", left_at=pl.lit(None, _TIMES)).unique("stage", maintain_order=True)
    named = _named(_by_metadata(rows, meanings_now(stages)), rules)
    meaning = pl.col("_name").replace_strict({"deal_won": "won", "deal_lost": "lost"}, default="open")
    own = pl.col("stage").is_in(list(rules.own))
    return named.select(
        stage_id="stage",
        meaning=meaning,
        decided_by=pl.when(own).then(pl.lit("mapping")).otherwise(pl.lit("hubspot")),
    )


def disagreeing_stages(stages: pl.DataFrame, rules: Deals) -> pl.DataFrame:
    """events.gap rows of the stages that the mapping calls won, lost or open and HubSpot's metadata does not.

    Args:
        stages: raw.pipeline_stage rows.
        rules: the stage map; the user's own entries apply nevertheless, shipped ones do not.
    """
    by_metadata = _by_flags(pl.col("is_closed"), is_won())
    mapped = pl.col("stage_id").replace_strict(rules.stages, default=None, return_dtype=pl.String)
    by_mapping = pl.when(mapped.is_in(CLOSED)).then(mapped).otherwise(pl.lit(OPEN))
    return stages.filter(mapped.is_not_null() & ~pl.col("archived") & (by_mapping != by_metadata)).select(
        gap=pl.lit("stage_disagrees"),
        subject="stage_id",
        records=pl.lit(None, pl.Int64),
        first_at=pl.lit(None, _TIMES),
    )


def meanings_now(stages: pl.DataFrame) -> pl.DataFrame:
    """raw.stage_meaning columns of stages that always meant what they mean now."""
    return stages.select("stage_id", "is_closed", is_won=is_won(), known_from=pl.lit(0).cast(_TIMES))


def _by_flags(closed: pl.Expr, won: pl.Expr) -> pl.Expr:
    """deal_won, deal_lost or `OPEN`, by the metadata of a stage; null where there is none."""
    return (
        pl.when(won)
        .then(pl.lit("deal_won"))
        .when(closed)
        .then(pl.lit("deal_lost"))
        .when(closed.is_not_null())
        .then(pl.lit(OPEN))
    )


def _by_metadata(rows: pl.DataFrame, meanings: pl.DataFrame) -> pl.DataFrame:
    """Add `_is_closed` and `_is_won` as the list of pipelines had them when the stage was left; null where none."""
    known = meanings.select("known_from", stage="stage_id", _is_closed="is_closed", _is_won="is_won").sort("known_from")
    until = (
        rows.with_row_index("_row")
        .with_columns(_until=pl.coalesce("left_at", pl.lit(2**53).cast(_TIMES)))
        .sort("_until")
    )
    found = until.join_asof(known, left_on="_until", right_on="known_from", by="stage", check_sortedness=False)
    return found.sort("_row").drop("_row", "_until", "known_from")


def _by_history(rows: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Fill gaps from HubSpot's history of the deal: the first value within the stay, else the one before it."""
    own = history.filter(~pl.col("copied") & ~pl.col("by_merge") | pl.col("born")).sort("timestamp", "ordinal")
    for name, column in ((IS_CLOSED, "_is_closed"), (IS_WON, "_is_won")):
        values = own.filter(pl.col("property") == name).select(
            "object_id", _at="timestamp", _flag=pl.col("value").str.to_lowercase() == "true"
        )
        if values.is_empty():
            continue
        numbered = rows.with_row_index("_row").sort("changed_at")
        within = numbered.join_asof(
            values, left_on="changed_at", right_on="_at", by="object_id", strategy="forward", check_sortedness=False
        ).select(
            "_row", _within=pl.when(pl.col("left_at").is_null() | (pl.col("_at") < pl.col("left_at"))).then("_flag")
        )
        before = numbered.join_asof(
            values, left_on="changed_at", right_on="_at", by="object_id", check_sortedness=False
        ).select("_row", _before="_flag")
        rows = (
            numbered.join(within, on="_row")
            .join(before, on="_row")
            .sort("_row")
            .with_columns(pl.coalesce(column, "_within", "_before").alias(column))
            .drop("_row", "_within", "_before")
        )
    return rows


def _named(rows: pl.DataFrame, rules: Deals) -> pl.DataFrame:
    """Add `_name`, `_closed` and `_unknown`: the user's own entry, else the metadata, else the shipped entry."""
    own, shipped = (
        pl.col("stage").replace_strict(given, default=None, return_dtype=pl.String)
        for given in (rules.own, rules.shipped)
    )
    meaning = _by_flags(pl.col("_is_closed"), pl.col("_is_won"))
    reopened = (meaning == OPEN) & shipped.is_in(CLOSED)
    by_metadata = pl.when(meaning.is_in(CLOSED)).then(meaning).when(reopened).then(pl.lit("crm_stage_changed"))
    rows = rows.with_columns(
        _name=pl.coalesce(own, by_metadata, shipped, pl.lit("crm_stage_changed")),
        _unknown=(pl.col("stage").is_not_null() & own.is_null() & shipped.is_null() & meaning.is_null()),
    )
    return rows.with_columns(_closed=pl.col("_name").is_in(CLOSED)).drop("_is_closed", "_is_won")


def _truth(name: str) -> pl.Expr:
    return pl.when(pl.col(name).str.len_chars() > 0).then(pl.col(name).str.to_lowercase() == "true")
