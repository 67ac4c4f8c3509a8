"""The layer `figures`: what is remembered of every figure, after credit is up to date."""

from __future__ import annotations

from datetime import datetime

from crm_attribution.finance import restatements, versions
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import knowledge_time


def update(session: Session, changes: Changes, rules: Rules, as_of: datetime) -> Report:
    """Record what the figures are made of now, where it differs from what was recorded last, and why they moved."""
    now = knowledge_time(session.state, as_of)
    sections = restatements.note_rules(session, rules, now)
    report = Report()
    if not changes.idle:
        report.changed = versions.update(session, changes, now)
        report.changed += restatements.update(session, changes, rules, sections, now)
        if report.changed:
            session.state.knowledge = now
    report.rows = session.scalar("SELECT count(*) FROM finance.milestone_version")
    return report
