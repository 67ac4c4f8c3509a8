"""Why a milestone is what it is: rule, carrier, linked events, values, credit, and what became of it at platforms."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution.events.rules.deal_milestones import WINS
from crm_attribution.events.rules.values import MEASURES
from crm_attribution.operations.why import links
from crm_attribution.operations.why.credit import credit
from crm_attribution.operations.why.tree import Node, Told
from crm_attribution.operations.why.words import MILESTONES, REVERSALS, SUPPRESSIONS
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]


def explain(told: Told, asked: str) -> Node | None:
    """The tree of a milestone, or of all that one event carries or is linked to."""
    rows = _found(told, asked).rows(named=True)
    if not rows:
        return None
    if len(rows) == 1:
        return _one(told, rows[0])
    return told.node(f"{asked} tells {len(rows)} milestones", {"count": len(rows)}, (_one(told, row) for row in rows))


def _found(told: Told, asked: str) -> pl.DataFrame:
    by_id = told.session.read_keys("events.milestone", ids_frame("milestone_id", [asked]))
    if by_id.height:
        return by_id.sort("milestone")
    name, _, rest = asked.replace("|", ":", 1).partition(":")
    key = pl.DataFrame({"milestone": [name], "milestone_id": [rest]})
    exact = told.session.read_keys("events.milestone", key)
    if exact.height:
        return exact
    event = told.session.read_keys("events.event", ids_frame("event_id", [asked]))
    return links.telling(told, event.row(0, named=True)) if event.height else exact


def _one(told: Told, row: Row) -> Node:
    duplicate = row["possible_duplicate_of"]
    facts = {
        "milestone_id": row["milestone_id"],
        "subtype": row["subtype"],
        "once_per": row["subject"],
        "rule": row["rule"],
        "why": MILESTONES.get(row["rule"]),
        "state": row["state"],
        "reason": row["reason"] and f"{row['reason']}: {REVERSALS[row['reason']]}",
        **{name: row[name] for name in ("occurred_at", "observed_at", "ready_from", "booked_on")},
        "imported": row["imported"] or None,
        "suppressed_by": row["suppressed_by"] and f"{row['suppressed_by']}: {SUPPRESSIONS.get(row['suppressed_by'])}",
        "possible_duplicate_of": duplicate,
    }
    children = [
        *_events(told, row),
        *_values(told, row),
        *_subjects(told, row),
        *credit(told, row),
        *_conversions(told, row),
    ]
    return told.node(f"milestone {row['milestone']}", facts, children)


def _events(told: Told, row: Row) -> list[Node]:
    ids = list(row["linked_event_ids"])
    events = told.session.read_keys("events.event", ids_frame("event_id", ids))
    known = {found["event_id"]: found for found in events.iter_rows(named=True)}
    why = links.reasons(told, row)

    def tell(event_id: str) -> Node:
        event = known.get(event_id, {})
        facts = {
            "event_id": event_id,
            "role": "carrier" if event_id == row["event_id"] else "linked",
            "why": why[event_id],
            "occurred": event.get("occurred_at"),
            "observed": event.get("observed_at"),
            "record": event and f"{event['object_type']}:{event['object_id']}",
            "stage": event.get("to_stage"),
            "source": event.get("source"),
        }
        return told.node(event.get("event", "an event that is no more"), facts)

    return told.several("events that tell it", ids, tell)


def _values(told: Told, row: Row) -> list[Node]:
    parts = []
    for name in MEASURES:
        facts = {
            "at_the_event": row[f"{name}_at_event"],
            "now": row[f"{name}_current"],
            "new_to_the_account": row.get(f"{name}_new"),
        }
        if any(value is not None for value in facts.values()):
            parts.append(told.node(name, facts))
    return [told.node("values", {"currency": row["currency"], "unit": "minor units"}, parts)] if parts else []


def _subjects(told: Told, row: Row) -> list[Node]:
    found = []
    if row["person_id"] is not None:
        person = told.session.read_keys("identity.person", ids_frame("person_id", [row["person_id"]]))
        contact = person["contact_id"][0] if person.height else None
        found.append(told.node(f"person {row['person_id']}", {"contact": contact and str(contact)}))
    if row["account_id"] is not None:
        account = told.session.read_keys("identity.account", ids_frame("account_id", [row["account_id"]]))
        facts = account.select("name", "domain").row(0, named=True) if account.height else {}
        if row["deal_id"] is not None:
            held = told.session.read_keys("identity.deal_account", records_frame("deal_id", [row["deal_id"]]))
            facts |= {"deal": str(row["deal_id"]), "basis": held["basis"][0] if held.height else None}
        found.append(told.node(f"account {row['account_id']}", facts))
    return found


def _conversions(told: Told, row: Row) -> list[Node]:
    """What was planned for any event that tells it: the id at planning may have been another of them."""
    names = WINS if row["milestone"] in WINS else [row["milestone"]]
    rows = told.session.read_keys("conversions.conversion", ids_frame("milestone_id", row["linked_event_ids"]))
    rows = rows.filter(pl.col("milestone").is_in(names)).sort("destination", "action", "revision", "conversion_id")
    if rows.is_empty():
        return [told.node("conversions", {"none": "no destination has planned any"})]
    tried = told.session.read_keys("delivery.attempt", rows.select("conversion_id"))

    def tell(found: Row) -> Node:
        facts = {
            "state": found["state"],
            "reason": found["reason"],
            **{name: found[name] for name in ("kind", "value", "currency", "occurred_at", "ready_at", "expires_at")},
            "planned_as": found["milestone"] if found["milestone"] != row["milestone"] else None,
            "click": found["touch_id"],
            "person": found["person_id"],
            "conversion_id": found["conversion_id"],
            "account": found["account"],
        }
        mine = tried.filter(pl.col("conversion_id") == found["conversion_id"]).sort("started")
        attempts = told.several("attempts", mine.rows(named=True), lambda attempt: _attempt(told, attempt))
        return told.node(f"{found['destination']} {found['action']}", facts, attempts)

    return told.several("conversions", rows.rows(named=True), tell)


def _attempt(told: Told, row: Row) -> Node:
    shown = ("started", "finished", "http_status", "outcome", "code", "batch_id")
    return told.node(f"attempt {row['attempt']}", {name: row[name] for name in shown})
