"""What ties events and milestones to each other: the milestone's own event, repetitions, echoes, adoptions."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution.events.milestones import lifecycle_outcomes
from crm_attribution.events.rules.deal_milestones import DEAL_STAGES, NOT_ENTRIES, WINS
from crm_attribution.events.rules.milestones import PERSON_MILESTONES
from crm_attribution.identity.lookups import persons_of
from crm_attribution.operations.why.brief import milestone_line
from crm_attribution.operations.why.tree import Node, Told
from crm_attribution.operations.why.words import LINKS
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]


def milestones_of(told: Told, event: Row) -> list[Node]:
    """The milestones an event carries or is linked to, each with as what; or why there is none."""
    rows = telling(told, event)
    if rows.is_empty():
        return [told.node("no milestone", {"why": _why_none(told, event)})]

    def tell(row: Row) -> Node:
        role = "carrier" if row["event_id"] == event["event_id"] else "linked"
        return milestone_line(told, row, role=role, why=reasons(told, row)[event["event_id"]])

    return told.several("milestones it tells", rows.rows(named=True), tell)


def telling(told: Told, event: Row) -> pl.DataFrame:
    """events.milestone rows that an event is linked to, looked for where they can be: its deal, person, accounts."""
    if event["object_type"] == "deals":
        found = told.session.read_keys("events.milestone", records_frame("deal_id", [event["record_id"]]))
    else:
        persons, accounts = _around(told, event)
        found = pl.concat(
            [
                told.session.read_keys("events.milestone", ids_frame("person_id", persons)),
                told.session.read_keys("events.milestone", ids_frame("account_id", accounts)),
            ]
        ).unique(["milestone", "milestone_id"], maintain_order=True)
    return found.filter(pl.col("linked_event_ids").list.contains(event["event_id"])).sort("milestone", "milestone_id")


def _around(told: Told, event: Row) -> tuple[set[str], set[str]]:
    """The person of a lifecycle event, and the accounts of this person, of its deals, or of the company."""
    if event["object_type"] == "companies":
        return set(), {f"company:{event['record_id']}", f"company:{event['company_id']}"}
    persons = set(persons_of(told.session, pl.Series([event["object_id"]]))["person_id"])
    who = ids_frame("person_id", persons)
    accounts = set(told.session.read_keys("identity.membership", who)["account_id"])
    contacts = told.session.read_keys("identity.alias", who).filter(pl.col("identifier_type") == "contact")
    deals = told.session.read_keys(
        "raw.association",
        contacts.select(
            to_id=pl.col("identifier").cast(pl.Int64, strict=False),
            from_type=pl.lit("deals"),
            to_type=pl.lit("contacts"),
        ),
    )
    held = told.session.read_keys("identity.deal_account", deals.select(deal_id="from_id").unique())
    return persons, accounts | set(held["account_id"])


def reasons(told: Told, milestone: Row) -> dict[str, str]:
    """event id -> what it is to a milestone, for each that is linked to it."""
    linked = list(milestone["linked_event_ids"])
    events = told.session.read_keys("events.event", ids_frame("event_id", linked))
    kinds = dict(events.select("event_id", "object_type").iter_rows())
    fates: dict[str, str] = {}
    if milestone["subject"] != "person" or milestone["milestone"] not in PERSON_MILESTONES:
        found = lifecycle_outcomes(told.session, milestone["person_id"], milestone["account_id"], told.rules)
        fates = dict(found.select("event_id", "outcome").iter_rows())
    return {event: _reason(milestone, event, kinds.get(event), fates.get(event)) for event in linked}


def _reason(milestone: Row, event: str, kind: str | None, fate: str | None) -> str:
    if kind != "deals" and fate is not None:
        return LINKS[fate]
    if event == milestone["event_id"]:
        return "the earliest that tells it"
    if kind == "deals" and milestone["milestone"] in WINS:
        return "the deal was won again"
    if kind == "deals":
        return "a later entry of the same deal"
    return "a later entry of the same person"


def _why_none(told: Told, event: Row) -> str:
    name, rules = event["event"], told.rules
    known = {*PERSON_MILESTONES, *rules.milestones.carriers, "deal_won", *DEAL_STAGES}
    if event["object_type"] == "deals":
        kind = rules.deals.pipelines.get(event["pipeline"] or "")
        if kind is None:
            return f"deals.pipelines does not name the pipeline {event['pipeline']}"
        if kind == "ignore":
            return "deals.pipelines ignores the pipeline"
        if name in NOT_ENTRIES:
            return "it is no entry into a stage"
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
