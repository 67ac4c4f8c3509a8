"""Why a deal counts as it does: its record, stages, events, milestones and their credit; or why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from crm_attribution import identifiers
from crm_attribution.events.rules.events import SEQUENCE
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.operations.why import credit, links
from crm_attribution.operations.why.brief import merged_into, milestone_line, quarantined
from crm_attribution.operations.why.event import history_of
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.operations.why.words import GAPS, PIPELINES, SUPPRESSIONS
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]

_STAGE = OBJECT_TYPES["deals"].stage_property


def explain(context: Context, asked: str) -> Node | None:
    """The tree of a deal, found by its id or that of a deal merged into it, with or without `deal:` before it."""
    given = identifiers.record_id(asked.removeprefix("deal:"))
    if given is None:
        return None
    deal = survivors_of(context.session, "deals", [given]).get(given, given)
    known = context.session.read_keys("raw.deal", records_frame("id", [deal]))
    family = {deal, given, *merged_into(context, "deals", {deal})["absorbed_id"]}
    waits = quarantined(context, "deals", family)
    if known.is_empty() and not waits:
        return None
    row: Row = known.row(0, named=True) if known.height else {}
    stages = _stages_known(context)
    facts = {
        "asked_for": f"deal:{given}" if given != deal else None,
        "name": row.get("dealname"),
        **_place(context, row, stages),
        "amount": row.get("amount"),
        "currency": row.get("currency"),
        "unit": "minor units" if row.get("amount") is not None else None,
        "created": row.get("created_at"),
        "close_date": row.get("closedate"),
        "archived": row.get("archived") or None,
        "source": f"raw.deal:{deal}" if row else None,
        "record": None if row else "none: no version of it could be stored",
    }
    events = context.session.read_keys("events.event", records_frame("record_id", [deal])).filter(
        pl.col("object_type") == "deals"
    )
    children = [
        *waits,
        *_gaps(context, row, family, events),
        *_merges(context, deal),
        *_account(context, deal),
        *_history(context, deal, events, stages),
        *_milestones(context, deal, row, events),
    ]
    return context.node(f"deal {deal}", facts, children)


def _stages_known(context: Context) -> dict[str, Row]:
    rows = context.session.read("raw.pipeline_stage", "object_type = 'deals'")
    return {row["stage_id"]: row for row in rows.iter_rows(named=True)}


def _place(context: Context, row: Row, stages: dict[str, Row]) -> Row:
    """Stage and pipeline of now, by HubSpot's names, and what the mapping makes of the pipeline."""
    stage, pipeline = row.get("dealstage"), row.get("pipeline")
    label = stages.get(stage or "", {}).get("stage_label")
    return {
        "stage": stage and f"{stage} ({label})" if label else stage,
        "pipeline": pipeline,
        "kind_of_pipeline": pipeline and PIPELINES[context.rules.deals.pipelines.get(pipeline)],
    }


def _gaps(context: Context, row: Row, family: set[int], events: pl.DataFrame) -> list[Node]:
    """The known gaps that concern this deal, a stage it was in, or its pipeline."""
    subjects = {
        "deal_refused": {str(deal) for deal in family},
        "stage_unknown": {*events["to_stage"], row.get("dealstage")},
        "stage_disagrees": {*events["to_stage"], row.get("dealstage")},
        "pipeline_unmapped": {*events["pipeline"], row.get("pipeline")},
        "rate_missing": {row.get("currency")},
    }
    asked = pl.DataFrame(
        [(gap, subject) for gap, named in subjects.items() for subject in named if subject is not None],
        schema={"gap": pl.String, "subject": pl.String},
        orient="row",
    )
    found = context.session.read_keys("events.gap", asked).sort("gap", "subject")
    return [
        context.node(
            f"known gap {gap['gap']}: {gap['subject']}",
            {"means": GAPS[gap["gap"]], "since": gap["first_at"], "deals": gap["records"]},
        )
        for gap in found.iter_rows(named=True)
    ]


def _merges(context: Context, deal: int) -> list[Node]:
    rows = merged_into(context, "deals", {deal}).sort("merged_at", "absorbed_id")
    return context.several(
        "merged into it",
        rows.rows(named=True),
        lambda row: context.node(
            f"deal:{row['absorbed_id']}",
            {
                "at": row["merged_at"],
                "learned_from": row["source"],
                "source": f"raw.merge:deals:{row['absorbed_id']}",
            },
        ),
    )


def _account(context: Context, deal: int) -> list[Node]:
    held = context.session.read_keys("identity.deal_account", records_frame("deal_id", [deal]))
    if held.is_empty():
        return []
    row = held.row(0, named=True)
    account = context.session.read_keys("identity.account", ids_frame("account_id", [row["account_id"]]))
    facts = account.select("name", "domain").row(0, named=True) if account.height else {}
    return [context.node(f"account {row['account_id']}", {**facts, "basis": row["basis"]})]


# --- stages and events


def _history(context: Context, deal: int, events: pl.DataFrame, stages: dict[str, Row]) -> list[Node]:
    """Each stage HubSpot says it entered, with the events made of it and their milestones; then the other events."""
    rows = history_of(context, "deals", {deal})
    entries = rows.filter(pl.col("property") == _STAGE).sort(*SEQUENCE, "object_id").rows(named=True)
    moments = [(entry["timestamp"], entry["object_id"], entry["value"]) for entry in entries if not entry["copied"]]
    made: dict[tuple[Any, ...], list[Row]] = {}
    others = []
    for event in events.sort("observed_at", "event_id").iter_rows(named=True):
        moment = (event["observed_at"], event["object_id"], event["to_stage"])
        if moment in moments and event["event"] != "deal_amount_changed":
            made.setdefault(moment, []).append(event)
        else:
            others.append(event)
    before: dict[int, str | None] = {}

    def line(entry: Row) -> Node:
        value, record = entry["value"], entry["object_id"]
        moment = (entry["timestamp"], record, value)
        told = [] if entry["copied"] else made.get(moment, [])
        facts = {
            "entered": entry["timestamp"],
            "record": f"deals:{record}" if record != deal else None,
            "source_type": entry["source_type"],
            "event": None if told else _no_event(entry, before.get(record)),
        }
        if not entry["copied"]:
            before[record] = value
        label = stages.get(value or "", {}).get("stage_label")
        name = f"{value} ({label})" if label else value or "(cleared)"
        return context.node(name, facts, (_event(context, event) for event in told))

    return [
        *context.several("stages", entries, line),
        *context.several("other events", others, lambda event: _event(context, event)),
    ]


def _no_event(entry: Row, before: str | None) -> str:
    if entry["copied"]:
        return "none: a merge copied the entry here"
    if entry["by_merge"]:
        return "none: a merge wrote it"
    if entry["value"] is None:
        return "none: the stage was cleared"
    if entry["value"] == before:
        return "none: it was in this stage already"
    return "none yet: the next run makes it"


def _event(context: Context, event: Row) -> Node:
    facts = {
        "event_id": event["event_id"],
        "occurred": event["occurred_at"],
        "suppressed_by": event["suppressed_by"],
    }
    told = [one for part in links.milestones_of(context, event) for one in part.children or [part]]
    return context.node(event["event"], facts, (_role(context, one) for one in told))


def _role(context: Context, milestone: Node) -> Node:
    """What an event is to a milestone; the milestone itself stands below."""
    return context.node(milestone.what, {name: milestone.facts.get(name) for name in ("milestone_id", "role", "why")})


# --- milestones and credit


def _milestones(context: Context, deal: int, record: Row, events: pl.DataFrame) -> list[Node]:
    """Its milestones with their credit, each once; or why there is none."""
    rows = context.session.read_keys("events.milestone", records_frame("deal_id", [deal]))
    if rows.is_empty():
        reasons = list(_reasons(context, record, events)) or ["no event of it makes one: each says why"]
        return [context.node("no milestone", {"why": "; ".join(reasons)})]
    listed = rows.sort("occurred_at", "milestone", "milestone_id").rows(named=True)
    given = credit.rows_of(context, listed)

    def line(row: Row) -> Node:
        found = milestone_line(
            context,
            row,
            amount_now=row["amount_current"],
            arr_now=row["arr_current"],
            currency=row["currency"],
            suppressed_by=row["suppressed_by"] and f"{row['suppressed_by']}: {SUPPRESSIONS.get(row['suppressed_by'])}",
            possible_duplicate_of=row["possible_duplicate_of"],
        )
        found.children.append(credit.sums(context, row, given))
        return found

    return [*context.several("milestones", listed, line), *credit.touches(context, given)]


def _reasons(context: Context, record: Row, events: pl.DataFrame) -> Iterator[str]:
    """Why nothing is counted of a deal."""
    if not record:
        yield "no version of it could be stored"
        return
    if events.is_empty():
        yield "it has no event: HubSpot shows no stage it entered"
        return
    for pipeline in events["pipeline"].unique().sort():
        kind = context.rules.deals.pipelines.get(pipeline or "")
        if kind in (None, "ignore"):
            yield f"pipeline {pipeline}: {PIPELINES[kind]}"
    if record["archived"]:
        yield "it is archived"
