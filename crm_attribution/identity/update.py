"""identity.*: persons from the changed part of the graph, then the accounts and memberships that follow."""

from __future__ import annotations

from datetime import datetime

from crm_attribution.contracts.topics import PERSON
from crm_attribution.identity import accounts, persons
from crm_attribution.identity.durable import Moved
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import Figures

_PERSONS = "SELECT count(*) FROM identity.person WHERE merged_into IS NULL"


def update(session: Session, changes: Changes, rules: Rules, as_of: datetime) -> Report:
    """Bring persons, accounts and memberships up to date with raw; cost follows the changed records.

    Args:
        session: an open session, in a transaction.
        changes: changed records, clicks and submissions.
        rules: identity, accounts and values sections.
        as_of: end of the run's window, for the change log.
    """
    report = Report()
    if not changes.idle:
        moved = persons.update(session, changes, rules, as_of)
        reach = moved.persons | accounts.update(session, changes, rules)
        touched = moved.persons | accounts.memberships(session, changes, reach, rules)
        session.journal.add(PERSON, moved.persons)
        session.state.identity_figures = quality(session)
        report.changed = len(touched)
        report.figures = _moved(session, moved)
    report.figures = {
        **(session.state.identity_figures or {}),
        **(session.state.click_figures or {}),
        **report.figures,
    }
    report.rows = session.scalar(_PERSONS)
    return report


def quality(session: Session) -> Figures:
    """Identity in figures: persons, aliases, the largest person, accounts, rejected edges by rule.

    Counted when something changed, remembered while nothing does.
    """
    figures: Figures = {
        "persons": session.scalar(_PERSONS),
        "aliases": session.scalar("SELECT count(*) FROM identity.alias"),
        "largest person (identifiers)": session.scalar("SELECT coalesce(max(identifiers), 0) FROM identity.person"),
        "accounts": session.scalar("SELECT count(*) FROM identity.account"),
        "companies sharing a domain": session.scalar("SELECT count(*) FROM identity.account WHERE shares_domain"),
    }
    for rule, count in session.connection.execute(
        "SELECT rule, count(*) FROM identity.edge_rejected GROUP BY rule ORDER BY rule"
    ).fetchall():
        figures[f"rejected edges: {rule}"] = count
    return figures


def _moved(session: Session, moved: Moved) -> Figures:
    """How much moved to another person: contacts, persons, and the events and conversions of these contacts."""
    if not moved.contacts:
        return {}
    ids = records_frame("contact_id", moved.contacts)
    counted = {
        name: session.query(f"SELECT count(*) AS n FROM {table} SEMI JOIN ids USING (contact_id)", ids=ids)["n"].item()
        for name, table in (("events", "events.event"), ("conversions", "conversions.conversion"))
    }
    return {
        "contacts moved": len(moved.contacts),
        "persons moved": len(moved.between),
        "events moved": counted["events"],
        "conversions moved": counted["conversions"],
    }
