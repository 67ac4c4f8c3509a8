"""Links between events and milestones: the milestone's own event, repetitions, echoes, adoptions."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution.events.rules.deal_milestones import DEAL_STAGES, NOT_ENTRIES
from crm_attribution.events.rules.milestones import KEY, PERSON_MILESTONES
from crm_attribution.identity.lookups import persons_of
from crm_attribution.operations.why.brief import milestone_line
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.operations.why.words import LINKS
from crm_attribution.warehouse.frames import ids_frame

Row = dict[str, Any]


def milestones_of(context: Context, event: Row) -> list[Node]:
    """The milestones an event carries or is linked to, each with its role; or why there is none."""
    rows = milestones_with(context, event["event_id"])
    if rows.is_empty():
        return [context.node("no milestone", {"why": _why_none(context, event)})]

    def line(row: Row) -> Node:
        link = events_of(context, row)[event["event_id"]]
        return milestone_line(context, row, role=link["role"], why=LINKS[link["reason"]])

    return context.several("milestones", rows.rows(named=True), line)


def milestones_with(context: Context, event_id: str) -> pl.DataFrame:
    """events.milestone rows that an event carries or is linked to."""
    links = context.session.read_keys("events.milestone_event", ids_frame("event_id", [event_id]))
    return context.session.read_keys("events.milestone", links.select(KEY)).sort(KEY)


def events_of(context: Context, milestone: Row) -> dict[str, Row]:
    """event id -> events.milestone_event row of each event of a milestone, the carrier first."""
    key = pl.DataFrame({name: [milestone[name]] for name in KEY})
    rows = context.session.read_keys("events.milestone_event", key).sort("role", "event_id")
    return {row["event_id"]: row for row in rows.iter_rows(named=True)}


def _why_none(context: Context, event: Row) -> str:
    name, rules = event["event"], context.rules
    known = {*PERSON_MILESTONES, *rules.milestones.carriers, "deal_won", *DEAL_STAGES}
    if event["object_type"] == "deals":
        kind = rules.deals.pipelines.get(event["pipeline"] or "")
        if kind is None:
            return f"deals.pipelines does not name the pipeline {event['pipeline']}"
        if kind == "ignore":
            return "deals.pipelines ignores the pipeline"
        if name in NOT_ENTRIES:
            return "it is not an entry into a stage"
    elif name not in known:
        return "no milestone is made of such an event"
    minutes = rules.milestones.settle_minutes
    if (
        event["undone"]
        and event["left_at"]
        and (event["left_at"] - event["observed_at"]).total_seconds() <= 60 * minutes
    ):
        return f"a slip: left again within milestones.settle_minutes ({minutes})"
    if event["object_type"] == "companies" and name in PERSON_MILESTONES:
        return "it is a company's: this milestone is a person's"
    if _named(context, event):
        return (
            "it repeats a deal, within milestones.echo_hours, whose pipeline deals.pipelines ignores or does not name"
        )
    return "its record names no person or account that it could be counted for"


def _named(context: Context, event: Row) -> bool:
    """Whether a lifecycle change could be counted for a person or account."""
    if event["object_type"] == "companies":
        return True
    contact = pl.Series([event["contact_id"]], dtype=pl.Int64).drop_nulls()
    return event["event"] not in PERSON_MILESTONES and not persons_of(context.session, contact).is_empty()
