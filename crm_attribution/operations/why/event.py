"""Why an event is what it is: the history rows behind it, the rule that named it, its values, its milestones."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import polars as pl

from crm_attribution.events.rules.deal_events import PRICE
from crm_attribution.events.rules.events import SEQUENCE, Source, own_history
from crm_attribution.events.rules.lifecycle_events import LEAD_STATUS
from crm_attribution.events.rules.values import MEASURES, needed_properties
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.money import minor_units
from crm_attribution.operations.why import links
from crm_attribution.operations.why.brief import merged_into, since_when
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.operations.why.words import SUPPRESSIONS, TIME_BASES
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]


def explain(context: Context, asked: str) -> Node | None:
    """The tree of one event."""
    rows = context.session.read_keys("events.event", ids_frame("event_id", [asked]))
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    history = history_of(context, row["object_type"], {row["object_id"], row["record_id"]})
    facts = {
        **{name: row[name] for name in ("event", "event_id", "occurred_at", "observed_at")},
        "time_basis": f"{row['time_basis']}: {TIME_BASES[row['time_basis']]}",
        "record": f"{row['object_type']}:{row['object_id']}",
        "held_by": f"{row['object_type']}:{row['record_id']}" if row["record_id"] != row["object_id"] else None,
        **{name: row[name] for name in ("source", "from_stage", "to_stage", "left_at", "next_stage")},
        "undone": row["undone"] or None,
        **{name: row[name] for name in ("hubspot_label", "pipeline", "owner_id")},
        "company_id": row["company_id"] and str(row["company_id"]),
        "company_name": row["company_name"],
        "record_in_quarantine_since": since_when(context, row["object_type"], row["record_id"]),
    }
    children = [
        _rule(context, row),
        *_sources(context, row, history),
        *_merges(context, row),
        *_values(context, row, history),
        *_suppression(context, row),
        *links.milestones_of(context, row),
    ]
    return context.node(f"event {row['event']}", facts, children)


def history_of(context: Context, object_type: str, records: Set[int]) -> pl.DataFrame:
    """The history of some records and of all that are merged into them, with copies marked (`own_history`)."""
    family = records | set(merged_into(context, object_type, records)["absorbed_id"])
    ids, named = records_frame("id", family), pl.lit(object_type).alias("object_type")
    source = Source(
        object_type,
        context.session.read_keys(OBJECT_TYPES[object_type].table, ids).sort("id"),
        context.session.read_keys("raw.property_history", ids.select(named, object_id="id")),
        survivors_of(context.session, object_type, family),
    )
    return own_history(source)


# --- the rule


def _rule(context: Context, row: Row) -> Node:
    name, stage = row["event"], (row["to_stage"] or "").lower()
    facts: Row = {"mapping_version": row["mapping_version"]}
    lifecycle, deals = context.rules.lifecycle, context.rules.deals
    if name == "deal_amount_changed":
        return context.node("rule: amount or currency changed in a tracked pipeline", facts)
    if name == "stage_skipped":
        return context.node("rule: a stage between the furthest so far and the one entered was jumped over", facts)
    if name == "lead_recycled":
        status = stage in lifecycle.recycled_lead_status and stage not in lifecycle.stages
        path = "lifecycle.recycled_lead_status" if status else "lifecycle.order"
        what = "names the lead status" if status else "the stage is not beyond the furthest reached before"
        return context.node(f"rule: {path}", {**facts, "why": what})
    if name == "deal_reopened":
        return context.node("rule: an open stage after a closed one, or one reached before", facts)
    if row["object_type"] != "deals":
        return _mapped("lifecycle.stages", lifecycle.stages, stage, row, context, facts)
    if row["to_stage"] in deals.stages:
        return _mapped("deals.stages", deals.stages, row["to_stage"], row, context, facts)
    stages = context.session.read_keys("raw.pipeline_stage", ids_frame("stage_id", [row["to_stage"]]))
    for found in stages.iter_rows(named=True):
        facts |= {"closed": found["is_closed"], "probability": found["probability"],
                  "source": f"raw.pipeline_stage:deals:{found['stage_id']}"}  # fmt: skip
    return context.node("rule: the pipeline's own metadata, deals.stages does not name the stage", facts)


def _mapped(path: str, stages: Mapping[str, str], stage: str, row: Row, context: Context, facts: Row) -> Node:
    now = stages.get(stage, "crm_stage_changed")
    since = f"the mapping has {now} now" if now != row["event"] else None
    if stage not in stages:
        return context.node(f"rule: {path} does not name {stage!r}", {**facts, "changed": since})
    return context.node(f"rule: {path}.{stage}: {row['event']}", {**facts, "changed": since})


# --- source rows


def _sources(context: Context, row: Row, history: pl.DataFrame) -> list[Node]:
    """The history rows of that moment; the record's own first, then the copies a merge made of them."""
    names = (
        PRICE
        if row["event"] == "deal_amount_changed"
        else [OBJECT_TYPES[row["object_type"]].stage_property, LEAD_STATUS]
    )
    then = history.filter(pl.col("property").is_in(names) & (pl.col("timestamp") == row["observed_at"]))
    stage = row["next_stage"] if row["event"] == "stage_skipped" else row["to_stage"]
    if row["event"] != "deal_amount_changed":
        then = then.filter(pl.col("value") == stage)
    if then.is_empty():
        source = f"{OBJECT_TYPES[row['object_type']].table}:{row['object_id']}: hs_v2_date_entered_{row['to_stage']}"
        return [context.node("source", {"no_history_row": "HubSpot's cap cut it off", "source": source})]
    mine = pl.col("object_id") == row["object_id"]
    rows = then.sort(~mine, *SEQUENCE, "property").rows(named=True)
    return context.several("source rows", rows, lambda found: _history_row(context, found))


def _history_row(context: Context, row: Row) -> Node:
    key = f"{row['object_type']}:{row['object_id']}:{row['property']}"
    facts = {
        "value": row["value"] if row["value"] is not None else "(cleared)",
        "at": row["timestamp"],
        "source_type": row["source_type"],
        "source_id": row["source_id"],
        "copied": "by a merge: not an event" if row["copied"] else None,
        "written_by_a_merge": row["by_merge"] or None,
        "history_truncated": row["history_truncated"] or None,
    }
    return context.node(f"raw.property_history:{key}", facts)


def _merges(context: Context, row: Row) -> list[Node]:
    """How the record of that time became the one that holds the event now."""
    found: list[Row] = []
    at = row["object_id"]
    while at != row["record_id"]:
        keys = records_frame("absorbed_id", [at]).with_columns(object_type=pl.lit(row["object_type"]))
        step = context.session.read_keys("raw.merge", keys)
        if step.is_empty() or step["survivor_id"][0] in [done["absorbed_id"] for done in found]:
            break
        found.append(step.row(0, named=True))
        at = found[-1]["survivor_id"]
    return context.several(
        "record absorbed since",
        found,
        lambda step: context.node(
            f"{step['object_type']}:{step['absorbed_id']} became {step['survivor_id']}",
            {
                "at": step["merged_at"],
                "learned_from": step["source"],
                "source": f"raw.merge:{step['object_type']}:{step['absorbed_id']}",
            },
        ),
    )


# --- values and suppression


def _values(context: Context, row: Row, history: pl.DataFrame) -> list[Node]:
    """Each measure of a deal with the property or rule it came from, and these properties' history rows."""
    if row["object_type"] != "deals":
        return []
    names = sorted({*needed_properties(context.rules.values), "deal_currency_code"})
    own = history.filter(
        (pl.col("object_id") == row["object_id"])
        & (~pl.col("copied") | pl.col("born"))
        & (pl.col("timestamp") <= row["observed_at"])
        & pl.col("property").is_in(names)
    ).sort(SEQUENCE)
    held = {found["property"]: found for found in own.iter_rows(named=True)}
    measures = [
        context.node(name, {"value": row[name], "from": _origin(context, row, name, held)})
        for name in MEASURES
        if row[name] is not None
    ]
    facts = {
        "currency": row["currency"],
        "unit": "minor units" if measures else None,
        "missing": row["value_reason"],
        "amount_before": row["amount_before"],
        "currency_before": row["currency_before"],
        "billing_period": row["billing_period"],
    }
    inputs = [_history_row(context, held[name]) for name in names if name in held]
    return [context.node("values as of that moment", facts, [*measures, *inputs])]


def _origin(context: Context, row: Row, measure: str, held: dict[str, Row]) -> str:
    """Where a measure came from: the first of its sources that has the value."""
    if measure == "amount":
        return "property amount"
    source = getattr(context.rules.values, measure)
    for path, name in (("property", source.property), ("line items", source.line_items)):
        text = held.get(name, {}).get("value") if name else None
        if text and minor_units(pl.Series([text]), pl.Series([row["currency"]]))[0] == row[measure]:
            return f"{path} {name}"
    terms = "amount, billing period and term" if measure == "tcv" else "amount and billing period"
    named = [name for name in (source.property, source.line_items) if name and name not in held]
    return f"rule over {terms}" + (f"; no history of {', '.join(named)}" if named else "")


def _suppression(context: Context, row: Row) -> list[Node]:
    if row["suppressed_by"] is None:
        return []
    return [context.node(f"suppressed by {row['suppressed_by']}", {"why": SUPPRESSIONS.get(row["suppressed_by"])})]
