"""attribution.credit: the credit of the outcomes whose milestone, or whose account's or person's touches changed."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.attribution.rules import credits as credit_rules
from crm_attribution.contracts import topics
from crm_attribution.events.rules.events import hubspot_time
from crm_attribution.identity.lookups import persons_of
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session

_EVERY_OUTCOME = """
    SELECT milestone, milestone_id FROM events.milestone UNION SELECT milestone, milestone_id FROM attribution.credit
"""
# a win opens the window of the account's next expansion; a merge may show that a contact is older
_TOUCHED_OUTCOMES = """
    WITH theirs AS (SELECT person_id, account_id FROM attribution.touch SEMI JOIN changed_person USING (person_id)),
    account AS (SELECT account_id FROM changed_account UNION SELECT account_id FROM theirs),
    person AS (SELECT person_id FROM touched_person UNION SELECT person_id FROM theirs)
    SELECT milestone, milestone_id FROM changed_outcome
    UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN account USING (account_id)
    UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN person USING (person_id)
"""


def update(session: Session, changes: Changes, rules: Rules, as_of: datetime) -> Report:
    """Recompute the credit of every outcome whose milestone or touches changed.

    Rows that no longer hold are closed, new ones opened, both at the later of `as_of` and the last recorded
    watermark; rows that still hold are not touched.
    """
    report = Report()
    keys = _outcome_keys(session, changes, needs_all=credit_rules.needs_all(rules.attribution))
    if keys.height:
        report.changed = _store(session, keys, _credits(session, keys, rules), as_of)
    report.rows = session.scalar("SELECT count(*) FROM attribution.credit WHERE superseded_at IS NULL")
    report.figures = dict(
        session.connection.execute(
            "SELECT model, count(DISTINCT milestone || milestone_id) FROM attribution.credit"
            " WHERE superseded_at IS NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
    )
    return report


def _outcome_keys(session: Session, changes: Changes, *, needs_all: bool) -> pl.DataFrame:
    """milestone, milestone_id of the outcomes to look at, those that are none any more included.

    Args:
        session: an open session.
        changes: what CREDIT_CONSUMER has not seen.
        needs_all: one change concerns every outcome (`Model.over_all`).
    """
    if changes.everything or (needs_all and not changes.idle):
        found = session.query(_EVERY_OUTCOME)
    else:
        found = session.query(
            _TOUCHED_OUTCOMES,
            changed_outcome=changes.frame(topics.MILESTONE),
            changed_account=ids_frame("account_id", changes.of(topics.MILESTONE_ACCOUNT, topics.TOUCH_ACCOUNT)),
            changed_person=ids_frame("person_id", changes.of(topics.PERSON)),
            touched_person=ids_frame("person_id", changes.of(topics.TOUCH_PERSON)),
        )
    return found.sort(pl.concat_str("milestone", "milestone_id", separator="|"))


def _credits(session: Session, keys: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    outcomes = session.read_keys("events.milestone", keys).filter(
        pl.col("milestone").is_in(rules.attribution.outcomes)
        & (pl.col("state") == "live")
        & pl.col("suppressed_by").is_null()
    )
    accounts = outcomes.select("account_id").drop_nulls().unique()
    persons = outcomes.filter(pl.col("account_id").is_null()).select("person_id").drop_nulls().unique()
    touches = pl.concat(
        [session.read_keys("attribution.touch", accounts), session.read_keys("attribution.touch", persons)]
    ).unique("touch_id")
    wins = (
        session.read_keys("events.milestone", accounts)
        .filter(pl.col("milestone").is_in(["customer_won", "customer_expanded"]) & (pl.col("state") == "live"))
        .select("account_id", "occurred_at")
    )
    contacts = _births(session, touches["contact_id"].drop_nulls())
    return credit_rules.credits(outcomes, touches, wins, contacts, rules.attribution)


def _births(session: Session, contacts: pl.Series) -> pl.DataFrame:
    """contact_id, created_at: when HubSpot first knew the person, whatever contact it is known by now."""
    asked = persons_of(session, contacts)
    family = session.query(
        "SELECT a.person_id, c.created_at, json_extract_string(c.properties, '$.createdate') AS created"
        " FROM identity.alias a SEMI JOIN asked ON a.person_id = asked.person_id"
        " JOIN raw.contact c ON c.id::VARCHAR = a.identifier WHERE a.identifier_type = 'contact'",
        asked=asked.select("person_id").unique(),
    )
    born = family.group_by("person_id").agg(
        created_at=pl.min_horizontal(pl.col("created_at").min(), hubspot_time(pl.col("created")).min())
    )
    return asked.join(born, on="person_id").select("contact_id", "created_at").unique("contact_id")


def _store(session: Session, keys: pl.DataFrame, wanted: pl.DataFrame, as_of: datetime) -> int:
    last = session.scalar("SELECT max(greatest(recorded_at, superseded_at)) FROM attribution.credit")
    now = as_of if last is None else max(as_of, last)
    held = session.read_keys("attribution.credit", keys).filter(pl.col("superseded_at").is_null())
    identity = wanted.columns
    stale = held.join(wanted, on=identity, how="anti")
    new = wanted.join(held, on=identity, how="anti").with_columns(
        recorded_at=pl.lit(now), superseded_at=pl.lit(None, pl.Datetime("us", "UTC"))
    )
    session["attribution.credit"].supersede(stale, new, now)
    return stale.height + new.height
