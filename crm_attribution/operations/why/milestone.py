"""Why a milestone is what it is: rule, carrier, linked events, values, credit, and what became of it at platforms."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution.events.rules.deal_milestones import WINS
from crm_attribution.events.rules.values import MEASURES
from crm_attribution.operations.why import links
from crm_attribution.operations.why.brief import since_when
from crm_attribution.operations.why.credit import credit
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.operations.why.words import LINKS, MILESTONES, REVERSALS, SUPPRESSIONS
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]


def explain(context: Context, asked: str) -> Node | None:
    """The tree of a milestone, or of all that one event carries or is linked to."""
    rows = _found(context, asked).rows(named=True)
    if not rows:
        return None
    if len(rows) == 1:
        return _one(context, rows[0])
    return context.node(
        f"{asked} belongs to {len(rows)} milestones", {"count": len(rows)}, (_one(context, row) for row in rows)
    )


def _found(context: Context, asked: str) -> pl.DataFrame:
    by_id = context.session.read_keys("events.milestone", ids_frame("milestone_id", [asked]))
    if by_id.height:
        return by_id.sort("milestone")
    name, _, rest = asked.replace("|", ":", 1).partition(":")
    key = pl.DataFrame({"milestone": [name], "milestone_id": [rest]})
    exact = context.session.read_keys("events.milestone", key)
    if exact.height:
        return exact
    event = context.session.read_keys("events.event", ids_frame("event_id", [asked]))
    return links.milestones_with(context, asked) if event.height else exact


def _one(context: Context, row: Row) -> Node:
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
        *_events(context, row),
        *_values(context, row),
        *_movements(context, row),
        *_subjects(context, row),
        *credit(context, row),
        *_conversions(context, row),
    ]
    return context.node(f"milestone {row['milestone']}", facts, children)


def _events(context: Context, row: Row) -> list[Node]:
    linked = links.events_of(context, row)
    events = context.session.read_keys("events.event", ids_frame("event_id", linked))
    known = {found["event_id"]: found for found in events.sort("observed_at", "event_id").iter_rows(named=True)}
    order = sorted(linked, key=lambda event: (linked[event]["role"], [*known, event].index(event)))

    def line(event_id: str) -> Node:
        event = known.get(event_id, {})
        facts = {
            "event_id": event_id,
            "role": linked[event_id]["role"],
            "why": LINKS[linked[event_id]["reason"]],
            "occurred": event.get("occurred_at"),
            "observed": event.get("observed_at"),
            "record": event and f"{event['object_type']}:{event['object_id']}",
            "stage": event.get("to_stage"),
            "source": event.get("source"),
        }
        return context.node(event.get("event", "an event that is no more"), facts)

    return context.several("events", order, line)


def _values(context: Context, row: Row) -> list[Node]:
    parts = []
    for name in MEASURES:
        facts = {
            "at_the_event": row[f"{name}_at_event"],
            "now": row[f"{name}_current"],
            "new_to_the_account": row.get(f"{name}_new"),
        }
        if any(value is not None for value in facts.values()):
            parts.append(context.node(name, facts))
    parts += _home_values(context, row)
    unit = {"currency": row["currency"], "currency_at_the_event": row["currency_at_event"], "unit": "minor units"}
    return [context.node("values", unit, parts)] if parts else []


def _movements(context: Context, row: Row) -> list[Node]:
    """What revenue it gained and lost, and when."""
    key = pl.DataFrame({"of_milestone": [row["milestone"]], "of_milestone_id": [row["milestone_id"]]})
    found = context.session.read_keys("events.revenue", key).sort("occurred_at", "milestone_id")
    shown = ("milestone_id", "cause", "occurred_at", "booked_on", "currency", *MEASURES)
    nodes = [
        context.node(change["milestone"], {name: change[name] for name in shown})
        for change in found.iter_rows(named=True)
    ]
    return [context.node("revenue", {"count": len(nodes)}, nodes)] if nodes else []


def _home_values(context: Context, row: Row) -> list[Node]:
    """What it is worth in the account's currency, and by which rate."""
    key = pl.DataFrame({name: [row[name]] for name in ("milestone", "milestone_id")})
    found = context.session.read_keys("events.home_value", key).drop("milestone", "milestone_id", "currency")
    return [context.node("in_the_home_currency", value) for value in found.iter_rows(named=True)]


def _subjects(context: Context, row: Row) -> list[Node]:
    found = []
    if row["person_id"] is not None:
        person = context.session.read_keys("identity.person", ids_frame("person_id", [row["person_id"]]))
        contact = person["contact_id"][0] if person.height else None
        found.append(context.node(f"person {row['person_id']}", {"contact": contact and str(contact)}))
    if row["account_id"] is not None:
        account = context.session.read_keys("identity.account", ids_frame("account_id", [row["account_id"]]))
        facts = account.select("name", "domain").row(0, named=True) if account.height else {}
        if row["deal_id"] is not None:
            held = context.session.read_keys("identity.deal_account", records_frame("deal_id", [row["deal_id"]]))
            facts |= {
                "deal": str(row["deal_id"]),
                "basis": held["basis"][0] if held.height else None,
                "deal_in_quarantine_since": since_when(context, "deals", row["deal_id"]),
            }
        found.append(context.node(f"account {row['account_id']}", facts))
    return found


def _conversions(context: Context, row: Row) -> list[Node]:
    """What was planned for any event of it: the id at planning may have been another one."""
    names = WINS if row["milestone"] in WINS else [row["milestone"]]
    rows = context.session.read_keys("conversions.conversion", ids_frame("milestone_id", links.events_of(context, row)))
    rows = rows.filter(pl.col("milestone").is_in(names)).sort("destination", "action", "revision", "conversion_id")
    if rows.is_empty():
        return [context.node("conversions", {"none": "no destination has planned any"})]
    tried = context.session.read_keys("delivery.attempt", rows.select("conversion_id"))

    def line(found: Row) -> Node:
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
        attempts = context.several("attempts", mine.rows(named=True), lambda attempt: _attempt(context, attempt))
        return context.node(f"{found['destination']} {found['action']}", facts, attempts)

    return context.several("conversions", rows.rows(named=True), line)


def _attempt(context: Context, row: Row) -> Node:
    shown = ("started", "finished", "http_status", "outcome", "code", "batch_id")
    return context.node(f"attempt {row['attempt']}", {name: row[name] for name in shown})
