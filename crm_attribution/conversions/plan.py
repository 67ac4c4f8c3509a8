"""conversions.conversion: the uploads of changed milestones, planned once for each platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from crm_attribution import mapping as rules_module
from crm_attribution.clock import iso
from crm_attribution.contracts.topics import MILESTONE
from crm_attribution.conversions import ledger
from crm_attribution.conversions import rules as planning
from crm_attribution.destinations import destinations, not_configured, values
from crm_attribution.destinations.base import Destination
from crm_attribution.mapping import Rules
from crm_attribution.settings import Settings
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import Figures

TOPICS = (MILESTONE,)


def consumer(destination: str) -> str:
    """Each destination has its own cursor: one configured later plans from the beginning, as suppressed history."""
    return f"conversions:{destination}"


@dataclass
class Planning(Report):
    """What was planned, and of each destination that was skipped, why."""

    skipped: dict[str, str] = field(default_factory=dict)

    def shown(self) -> Figures:
        return {f"{name}: skipped": why for name, why in self.skipped.items()} | self.figures


def update(session: Session, rules: Rules, settings: Settings, now: datetime) -> Planning:
    """Plan new rows and refresh the value of unsent ones; for configured destinations, where sending is on."""
    report, planned = Planning(), False
    for name, destination in destinations().items():
        reason = why_not(destination, rules, settings)
        if reason is not None:
            report.skipped[name] = reason
            continue
        report.changed += _plan_one(session, destination, rules, settings, now)
        planned = True
    if planned:
        session.state.planned = True  # from now on a rule not seen before is a new rule
    counts = session.connection.execute(
        "SELECT destination || ': ' || state || coalesce(' (' || reason || ')', ''), count(*)"
        " FROM conversions.conversion GROUP BY 1 ORDER BY 1"
    ).fetchall()
    report.figures |= dict(counts)
    report.rows = sum(count for _, count in counts)
    return report


def why_not(destination: Destination, rules: Rules, settings: Settings) -> str | None:
    """Why nothing is planned for or sent to a destination; None where it is."""
    if not settings.send:
        return "sending is switched off (CRM_ATTRIBUTION_SEND=off)"
    if destination.name not in rules.destinations or not rules.destinations[destination.name].conversions:
        return f"no conversions under destinations.{destination.name} in the mapping"
    return not_configured(destination, settings)


def _plan_one(session: Session, destination: Destination, rules: Rules, settings: Settings, now: datetime) -> int:
    mine = rules.destinations[destination.name]
    account = destination.account(values(destination, settings))
    signature = f"{rules.signature('conversions')}:{mine.model_dump_json()}:{account}"
    with session.following(consumer(destination.name), TOPICS, signature) as changes:
        mine = _effective(session, destination.name, mine)
        plan = planning.Plan(
            destination.name, account, mine, rules.conversions, destination.limits.max_age, settings.start
        )
        milestones = _milestones(session, None if changes.everything else changes.frame(MILESTONE))
        events = session.read_keys("events.milestone_event", milestones.select("milestone", "milestone_id"))
        existing = _existing(session, destination.name, milestones, events)
        new = planning.plan(plan, milestones, events, existing, now)
        written = (
            session["conversions.conversion"].append(new)["conversion_id"]
            if new.height
            else pl.Series([], dtype=pl.String)
        )
        fresh = planning.refresh(existing, milestones, events, plan, now)
        updated = session["conversions.conversion"].upsert(fresh)["conversion_id"]
        moves = planning.standing(existing, milestones, events).iter_rows()
        moved = ledger.move(session, (ledger.Move(*row) for row in moves), now)
    return len({*written, *updated, *moved})


def _effective(session: Session, name: str, mine: rules_module.Destination) -> rules_module.Destination:
    """The rules with `start` made the moment a rule was first seen, where that was after the first planning: a rule
    added later uploads no history unless its `send_from` names a time."""
    watermark = session.state.watermark
    first_planning = session.state.planned is None
    rules = []
    for rule in mine.conversions:
        seen = session.state.rule_since[name, rule.milestone, rule.action]
        since = seen or ("start" if first_planning or watermark is None else iso(watermark))
        if seen is None:
            session.state.rule_since[name, rule.milestone, rule.action] = since
        wanted = rule.send_from or mine.send_from
        rules.append(rule.model_copy(update={"send_from": since if wanted == "start" else wanted}))
    return mine.model_copy(update={"conversions": rules})


def _milestones(session: Session, keys: pl.DataFrame | None) -> pl.DataFrame:
    """Live milestones with `once_person`."""
    if keys is None:
        rows = session.read("events.milestone", "state = 'live'")
    else:
        rows = session.read_keys("events.milestone", keys).filter(pl.col("state") == "live")
    representatives = deal_contacts(session, rows["deal_id"]).unique("deal_id", keep="first", maintain_order=True)
    return (
        rows.join(
            representatives.select("deal_id", _representative="person_id"),
            on="deal_id",
            how="left",
            maintain_order="left",
        )
        .with_columns(once_person=pl.coalesce("person_id", "_representative"))
        .drop("_representative")
    )


def deal_contacts(session: Session, deals: pl.Series) -> pl.DataFrame:
    """deal_id, contact_id, person_id, labels of the deals' live contacts; the earliest created first."""
    return session.query(
        "SELECT a.from_id AS deal_id, c.id AS contact_id, i.person_id, a.labels"
        " FROM raw.association a JOIN raw.contact c ON c.id = a.to_id"
        " JOIN identity.alias i ON i.identifier_type = 'contact' AND i.identifier = c.id::VARCHAR"
        " SEMI JOIN deals ON a.from_id = deals.deal_id"
        " WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL AND NOT c.archived"
        " ORDER BY a.from_id, c.created_at, c.id",
        deals=records_frame("deal_id", deals.drop_nulls()),
    )


def _existing(
    session: Session, destination: str, milestones: pl.DataFrame, milestone_events: pl.DataFrame
) -> pl.DataFrame:
    """Rows of a destination that a linked event or a once-per-person rule could meet."""
    events = milestone_events.select(id="event_id").unique()
    ids = session.query(
        "SELECT conversion_id FROM conversions.conversion WHERE destination = ? AND"
        " (milestone_id IN (SELECT id FROM events) OR event_id IN (SELECT id FROM events)"
        " OR person_id IN (SELECT person_id FROM persons))",
        [destination],
        events=events,
        persons=ids_frame("person_id", milestones["once_person"].drop_nulls()),
    )
    return session.read_keys("conversions.conversion", ids)
