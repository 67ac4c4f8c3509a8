"""Links between events and milestones: the milestone's own event, repetitions, echoes, adoptions."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution.events.milestones import lifecycle_outcomes
from crm_attribution.events.rules.deal_milestones import DEAL_STAGES, NOT_ENTRIES, WINS
from crm_attribution.events.rules.milestones import PERSON_MILESTONES
from crm_attribution.identity.lookups import persons_of
from crm_attribution.operations.why.brief import milestone_line
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.operations.why.words import LINKS
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]


def milestones_of(context: Context, event: Row) -> list[Node]:
    """The milestones an event carries or is linked to, each with its role; or why there is none."""
    rows = milestones_with(context, event)
    if rows.is_empty():
        return [context.node("no milestone", {"why": _why_none(context, event)})]

    def line(row: Row) -> Node:
        role = "carrier" if row["event_id"] == event["event_id"] else "linked"
        return milestone_line(context, row, role=role, why=reasons(context, row)[event["event_id"]])

    return context.several("milestones", rows.rows(named=True), line)


def milestones_with(context: Context, event: Row) -> pl.DataFrame:
    """events.milestone rows that an event is linked to, searched by its deal, person and accounts."""
    if event["object_type"] == "deals":
        found = context.session.read_keys("events.milestone", records_frame("deal_id", [event["record_id"]]))
    else:
        persons, accounts = _around(context, event)
        found = pl.concat(
            [
                context.session.read_keys("events.milestone", ids_frame("person_id", persons)),
                context.session.read_keys("events.milestone", ids_frame("account_id", accounts)),
            ]
        ).unique(["milestone", "milestone_id"], maintain_order=True)
    return found.filter(pl.col("linked_event_ids").list.contains(event["event_id"])).sort("milestone", "milestone_id")


def _around(context: Context, event: Row) -> tuple[set[str], set[str]]:
    """The person of a lifecycle event, and the accounts of this person, of its deals, or of the company."""
    if event["object_type"] == "companies":
        return set(), {f"company:{event['record_id']}", f"company:{event['company_id']}"}
    persons = set(persons_of(context.session, pl.Series([event["object_id"]]))["person_id"])
    who = ids_frame("person_id", persons)
    accounts = set(context.session.read_keys("identity.membership", who)["account_id"])
    contacts = context.session.read_keys("identity.alias", who).filter(pl.col("identifier_type") == "contact")
    deals = context.session.read_keys(
        "raw.association",
        contacts.select(
            to_id=pl.col("identifier").cast(pl.Int64, strict=False),
            from_type=pl.lit("deals"),
            to_type=pl.lit("contacts"),
        ),
    )
    held = context.session.read_keys("identity.deal_account", deals.select(deal_id="from_id").unique())
    return persons, accounts | set(held["account_id"])


def reasons(context: Context, milestone: Row) -> dict[str, str]:
    """Return event id -> its role in a milestone, for each linked event."""
    linked = list(milestone["linked_event_ids"])
    events = context.session.read_keys("events.event", ids_frame("event_id", linked))
    kinds = dict(events.select("event_id", "object_type").iter_rows())
    fates: dict[str, str] = {}
    if milestone["subject"] != "person" or milestone["milestone"] not in PERSON_MILESTONES:
        found = lifecycle_outcomes(context.session, milestone["person_id"], milestone["account_id"], context.rules)
        fates = dict(found.select("event_id", "outcome").iter_rows())
    return {event: _reason(milestone, event, kinds.get(event), fates.get(event)) for event in linked}


def _reason(milestone: Row, event: str, kind: str | None, fate: str | None) -> str:
    if kind != "deals" and fate is not None:
        return LINKS[fate]
    if event == milestone["event_id"]:
        return "the event whose time and value it has"
    if kind == "deals" and milestone["milestone"] in WINS:
        return "the deal was won again"
    if kind == "deals":
        return "a later entry of the same deal"
    return "a later entry of the same person"


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
    return "its record names no person or account that it could be counted for"
