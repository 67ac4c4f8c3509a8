"""finance.period: closing a month, and reopening it. Append-only: who, why, and what was known then."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta

import polars as pl

from crm_attribution.errors import ConfigurationError
from crm_attribution.finance.rules import periods as rule
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import knowledge_time, newest_hour_end
from crm_attribution.words import said

PERIOD = "finance.period"

_FIRST = """
    SELECT date_trunc('month', min(booked_on))::DATE FROM (
        SELECT booked_on FROM finance.milestone_version UNION ALL SELECT booked_on FROM finance.revenue_version)
"""
_UNCONVERTED = """
    SELECT DISTINCT value.currency FROM events.home_value AS value JOIN (
        SELECT milestone, milestone_id, booked_on FROM events.milestone
        WHERE state = 'live' AND suppressed_by IS NULL
        UNION ALL SELECT milestone, milestone_id, booked_on FROM events.revenue
    ) AS fact USING (milestone, milestone_id)
    WHERE date_trunc('month', fact.booked_on) = $1 AND value.rate IS NULL ORDER BY 1
"""
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def close(session: Session, month: date, by: str, reason: str) -> list[date]:
    """Close a month, and all before it that are open: their figures stay as they are known now.

    Returns:
        the months that were closed.

    Raises:
        ConfigurationError: when the month is not over in what is known, is closed, or has amounts without a rate.
    """
    said = _said(by, reason)
    zone = session.scalar("SELECT time_zone FROM raw.account") or "UTC"
    known = newest_hour_end(session.state)
    months = rule.to_close(month, _states(session), session.scalar(_FIRST), known, zone)
    for one in months:
        if currencies := session.query(_UNCONVERTED, [one])["currency"].to_list():
            raise ConfigurationError(
                f"{one:%Y-%m} has amounts in {', '.join(currencies)} that no rate converts: drop a file of rates"
                " into inbox/rates, run the next hour, and close it then"
            )
    _write(session, months, rule.CLOSED, said)
    return months


def reopen(session: Session, month: date, by: str, reason: str) -> list[date]:
    """Reopen a month, and all after it that are closed. What was posted to other months meanwhile stays there.

    Returns:
        the months that were reopened.

    Raises:
        ConfigurationError: when the month is open.
    """
    said = _said(by, reason)
    months = rule.to_reopen(month, _states(session))
    _write(session, months, rule.OPEN, said)
    return months


def _states(session: Session) -> dict[date, str]:
    rows = session.read(PERIOD).sort("recorded_at").unique("month", keep="last")
    return dict(rows.select("month", "state").iter_rows())


def _said(by: str, reason: str) -> tuple[str, str]:
    what = "say who closes or reopens the month, and why"
    given = said("by", by, what), said("reason", reason, what)
    for name, text in zip(("by", "reason"), given, strict=True):
        if _ADDRESS.search(text):
            raise ConfigurationError(f"{name} holds an e-mail address, and it is published: write a name")
    return given


def _write(session: Session, months: Iterable[date], state: str, said: tuple[str, str]) -> None:
    """Whatever is recorded afterwards is known later than this, also where an hour runs again."""
    now: datetime = knowledge_time(session.state, newest_hour_end(session.state))
    rows = pl.DataFrame({"month": list(months)}).with_columns(
        state=pl.lit(state), recorded_at=pl.lit(now), changed_by=pl.lit(said[0]), reason=pl.lit(said[1])
    )
    with session.transaction():
        session[PERIOD].append(rows)
        session.state.knowledge = now + timedelta(microseconds=1)
