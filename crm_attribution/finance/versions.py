"""finance.*_version: what figures are made of besides credit, as it was known at any time.

Credit is bitemporal itself. Month, kind, amounts and state of an outcome, and what its touches are called, may change
without it; here they get the same two times, so that every figure can be asked for as of any instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from crm_attribution.contracts import CONTRACTS, topics
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.tables import RECORDED

OUTCOME = ["milestone", "milestone_id"]
MILESTONE, REVENUE, TOUCH = "finance.milestone_version", "finance.revenue_version", "finance.touch_version"
TABLES = (MILESTONE, REVENUE, TOUCH)

AT_A_TIME = 100_000
"""Rows read at a time: memory does not grow with the history."""

_EVERY = """
    SELECT milestone, milestone_id FROM events.milestone UNION SELECT milestone, milestone_id FROM events.revenue
    UNION SELECT milestone, milestone_id FROM finance.milestone_version
    UNION SELECT milestone, milestone_id FROM finance.revenue_version
    UNION SELECT milestone, milestone_id FROM attribution.credit
"""
_TOUCHED = """
    FROM changed_milestone
    UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN changed_account USING (account_id)
    UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN (
        SELECT event_id FROM events.event SEMI JOIN changed_record USING (object_type, record_id)) USING (event_id)
"""
_LINKED = "SELECT milestone, milestone_id, count(*) AS linked_events FROM events.milestone_event SEMI JOIN asked"
_COMPANY = """
    SELECT account_id, name AS account_name, domain AS account_domain FROM identity.account SEMI JOIN asked
    USING (account_id) WHERE company_id IS NOT NULL
"""
_EVERY_TOUCH = """
    SELECT touch_id FROM attribution.touch UNION SELECT touch_id FROM attribution.self_reported
    UNION SELECT touch_id FROM attribution.credit WHERE touch_id <> ''
"""
_TOUCHES = """
    SELECT touch_id FROM attribution.touch
    WHERE account_id IN (FROM changed_account) OR person_id IN (FROM changed_person)
    UNION SELECT touch_id FROM attribution.self_reported
    WHERE account_id IN (FROM changed_account) OR person_id IN (FROM changed_person)
    UNION SELECT touch_id FROM attribution.credit SEMI JOIN changed_credit USING (milestone, milestone_id)
    WHERE touch_id <> ''
"""
_LABELS = """
    SELECT touch_id, channel, withheld(source) AS source, withheld(medium) AS medium, withheld(campaign) AS campaign
    FROM attribution.touch SEMI JOIN asked USING (touch_id)
    UNION ALL SELECT touch_id, channel, NULL, NULL, NULL FROM attribution.self_reported SEMI JOIN asked USING (touch_id)
"""
_BEFORE = {
    MILESTONE: "SELECT milestone, milestone_id, min(recorded_at) AS since FROM attribution.credit GROUP BY ALL",
    REVENUE: "SELECT milestone, milestone_id, min(recorded_at) AS since FROM attribution.credit GROUP BY ALL",
    TOUCH: "SELECT touch_id, min(recorded_at) AS since FROM attribution.credit GROUP BY ALL",
}
"""Since when credit names each: of a warehouse whose credit is older than these tables."""


def update(session: Session, changes: Changes, now: datetime) -> int:
    """Record what differs now. Returns the rows closed and opened."""
    first = changes.everything and not any(session.scalar(f"SELECT count(*) FROM {name}") for name in TABLES)
    changed = 0
    for keys in _parts(_outcomes(session, changes)):
        changed += session[MILESTONE].record(_milestones(session, keys), keys, now).height
        changed += session[REVENUE].record(_revenue(session, keys), keys, now).height
    for keys in _parts(_touches(session, changes)):
        changed += session[TOUCH].record(session.query(_LABELS, asked=keys), keys, now).height
    if first:
        _reach_back(session)
    return changed


def _parts(keys: pl.DataFrame) -> Iterator[pl.DataFrame]:
    return keys.iter_slices(AT_A_TIME) if keys.height else iter(())


def _outcomes(session: Session, changes: Changes) -> pl.DataFrame:
    """milestone, milestone_id of what to look at, those that are none any more included."""
    if changes.everything:
        return session.query(_EVERY).sort(OUTCOME)
    keys = changes.frame(topics.MILESTONE, topics.HOME_VALUE, topics.REVENUE_MOVEMENT)
    accounts = ids_frame("account_id", changes.of(topics.ACCOUNT))
    records = [(kind, record) for kind, topic in topics.RECORD_EVENTS.items() for record in changes.ids(topic)]
    changed = pl.DataFrame(records, schema={"object_type": pl.String, "record_id": pl.Int64}, orient="row")
    found = session.query(_TOUCHED, changed_milestone=keys, changed_account=accounts, changed_record=changed)
    return found.unique().sort(OUTCOME)


def _touches(session: Session, changes: Changes) -> pl.DataFrame:
    """touch_id of what to look at, those that are none any more included where they have credit."""
    if changes.everything:
        return session.query(_EVERY_TOUCH).sort("touch_id")
    return session.query(
        _TOUCHES,
        changed_account=ids_frame("account_id", changes.of(topics.TOUCH_ACCOUNT)),
        changed_person=ids_frame("person_id", changes.of(topics.TOUCH_PERSON)),
        changed_credit=changes.frame(topics.CREDIT),
    ).sort("touch_id")


def _milestones(session: Session, keys: pl.DataFrame) -> pl.DataFrame:
    rows = session.read_keys("events.milestone", keys)
    links = session.query(f"{_LINKED} USING (milestone, milestone_id) GROUP BY ALL", asked=keys)
    carriers = session.read_keys("events.event", rows.select("event_id"), ("event_id", "value_reason", "owner_id"))
    companies = session.query(_COMPANY, asked=rows.select("account_id").drop_nulls().unique())
    found = (
        rows.join(links, on=OUTCOME, how="left")
        .join(companies, on="account_id", how="left")
        .join(_home_values(session, keys), on=OUTCOME, how="left")
        .join(carriers, on="event_id", how="left")
        .with_columns(pl.col("linked_events").fill_null(0))
    )
    return found.select(_columns(MILESTONE))


def _revenue(session: Session, keys: pl.DataFrame) -> pl.DataFrame:
    rows = session.read_keys("events.revenue", keys)
    return rows.join(_home_values(session, keys), on=OUTCOME, how="left").select(_columns(REVENUE))


def _home_values(session: Session, keys: pl.DataFrame) -> pl.DataFrame:
    return session.read_keys("events.home_value", keys).drop("currency")


def _columns(name: str) -> list[str]:
    return [column.name for column in CONTRACTS[name].columns if column.name not in RECORDED]


def _reach_back(session: Session) -> None:
    """Of a warehouse that had credit before it had these tables: what is known of each is taken back to its first
    credit, so that older figures have a month and a channel."""
    for name, credited in _BEFORE.items():
        keys = " AND ".join(f"v.{key} = c.{key}" for key in CONTRACTS[name].key if key not in RECORDED)
        session.connection.execute(
            f"UPDATE {name} v SET recorded_at = c.since FROM ({credited}) c WHERE {keys} AND c.since < v.recorded_at"
        )
