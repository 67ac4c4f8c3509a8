"""attribution.credit: the credit of the outcomes whose milestone, touches, people or channel effects changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import polars as pl

from crm_attribution.attribution import effects, journeys
from crm_attribution.attribution.rules import credits as credit_rules
from crm_attribution.attribution.rules.journeys import OUTCOME
from crm_attribution.contracts import topics
from crm_attribution.identifiers import DEAL_ACCOUNT
from crm_attribution.identity.lookups import CONTACT_ID
from crm_attribution.mapping import Attribution, Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import knowledge_time
from crm_attribution.warehouse.steps import steps

AT_A_TIME = 100_000
"""Outcomes computed at a time: memory does not grow with the history."""

_EVERY_OUTCOME = """
    SELECT milestone, milestone_id FROM events.milestone UNION SELECT milestone, milestone_id FROM events.revenue
    UNION SELECT milestone, milestone_id FROM attribution.credit
"""
_TOUCHED = {
    # a win opens the window of the account's next expansion; a merge may show that a contact is older
    "touched_account": """
        SELECT account_id FROM changed_account
        UNION SELECT account_id FROM attribution.touch SEMI JOIN changed_person USING (person_id)
    """,
    "acting_person": "SELECT person_id FROM changed_person UNION SELECT person_id FROM touched_person",
    # who follows links as a bot does: that is the reason of an outcome without touches only
    "suspect_person": """
        SELECT person_id FROM acting_person
        UNION SELECT alias.person_id FROM identity.click AS click
            SEMI JOIN changed_link ON changed_link.click_id = click.click_id
            JOIN identity.alias ON identifier_type = 'contact' AND identifier = click.contact_id::VARCHAR
        UNION SELECT alias.person_id FROM raw.email_click AS mail SEMI JOIN changed_mail ON changed_mail.id = mail.id
            JOIN identity.alias ON identifier_type = 'email' AND identifier = mail.recipient_normalised
    """,
    "suspect_account": "SELECT DISTINCT account_id FROM identity.membership SEMI JOIN suspect_person USING (person_id)",
    "untouched_outcome": """
        SELECT DISTINCT milestone, milestone_id, unattributed_reason FROM attribution.journey WHERE touches = 0
    """,
    "touched_outcome": """
        SELECT milestone, milestone_id FROM changed_outcome
        UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN touched_account USING (account_id)
        -- a touch leads to no outcome before it; but it may be why one has none
        UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN acting_account USING (account_id)
            WHERE occurred_at >= (SELECT min(month) FROM touched_month)
        UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN acting_account USING (account_id)
            SEMI JOIN untouched_outcome USING (milestone, milestone_id)
        UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN acting_person USING (person_id)
        UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN suspect_account USING (account_id)
            SEMI JOIN untouched_outcome USING (milestone, milestone_id)
        UNION SELECT milestone, milestone_id FROM events.milestone SEMI JOIN suspect_person USING (person_id)
            SEMI JOIN untouched_outcome USING (milestone, milestone_id)
        -- of an account that a bot's contact has left
        UNION SELECT milestone, milestone_id FROM untouched_outcome
            WHERE unattributed_reason = 'only_bot_clicks' AND EXISTS (SELECT 1 FROM suspect_person)
        -- when a person without an account became a lead is told by a milestone of its own
        UNION SELECT milestone, milestone_id FROM events.milestone
            SEMI JOIN (SELECT person_id FROM events.milestone SEMI JOIN changed_outcome USING (milestone, milestone_id))
            USING (person_id) WHERE account_id IS NULL
        UNION SELECT milestone, milestone_id FROM events.milestone WHERE account_id IS NULL AND EXISTS
            (FROM changed_outcome ANTI JOIN events.milestone USING (milestone, milestone_id))
    """,
}
_TOUCHED_DEALS = f"""
    SELECT milestone, milestone_id, account_id FROM events.milestone SEMI JOIN (
        SELECT deal_id FROM changed_deal
        UNION SELECT from_id FROM raw.association SEMI JOIN
            (SELECT {CONTACT_ID} AS to_id FROM identity.alias SEMI JOIN suspect_person USING (person_id)
             WHERE identifier_type = 'contact') USING (to_id)
            WHERE from_type = 'deals' AND to_type = 'contacts'
    ) USING (deal_id)
    UNION SELECT milestone, milestone_id, account_id FROM events.milestone SEMI JOIN suspect_person USING (person_id)
"""

_OF_WINS = """
    SELECT change.milestone, change.milestone_id FROM events.revenue AS change
    SEMI JOIN touched ON touched.milestone = of_milestone AND touched.milestone_id = of_milestone_id
"""
"""Movements of revenue have the touches of their win."""


def update(session: Session, changes: Changes, rules: Rules, as_of: datetime) -> Report:
    """Recompute the credit of every outcome whose milestone, touches or people changed, and, for models that learn, of
    those in months before which something changed.

    Rows that no longer hold are closed, new ones opened, both at the time of `knowledge_time`; rows that still hold are
    not touched.
    """
    report = Report()
    mine = rules.attribution
    if not changes.idle:
        keys = _outcome_keys(session, changes, mine)
        read = None
        if any(model.model.learn is not None for model in mine.chosen):
            for part in _parts(keys):  # what is learned may be of journeys in any of them
                read = journeys.read(session, part, mine)
        others = effects.update(session, changes, mine).join(keys, on=OUTCOME, how="anti").sort(OUTCOME)
        now = knowledge_time(session.state, as_of)
        if read is not None and keys.height <= AT_A_TIME:
            report.changed += _credit(session, keys, read, mine, now)
            keys = keys.clear()
        for part in (*_parts(keys), *_parts(others)):
            report.changed += _credit(session, part, journeys.read(session, part, mine), mine, now)
        if report.changed:
            session.state.knowledge = now
    report.rows = session.scalar("SELECT count(*) FROM attribution.credit WHERE superseded_at IS NULL")
    report.figures = dict(
        session.connection.execute(
            "SELECT scope || ': ' || coalesce(unattributed_reason, 'attributed') AS name, n FROM (SELECT scope,"
            " unattributed_reason, count(*) AS n FROM attribution.journey GROUP BY ALL) ORDER BY name"
        ).fetchall()
    )
    return report


def _parts(keys: pl.DataFrame) -> Iterator[pl.DataFrame]:
    return keys.iter_slices(AT_A_TIME) if keys.height else iter(())


def _outcome_keys(session: Session, changes: Changes, rules: Attribution) -> pl.DataFrame:
    """milestone, milestone_id of the outcomes to look at, those that are none any more included."""
    if changes.everything:
        return session.query(_EVERY_OUTCOME).sort(OUTCOME)
    given = {
        "changed_outcome": changes.frame(topics.MILESTONE, topics.HOME_VALUE, topics.REVENUE_MOVEMENT),
        "changed_account": ids_frame("account_id", changes.of(topics.MILESTONE_ACCOUNT)),
        "acting_account": ids_frame("account_id", changes.of(topics.TOUCH_ACCOUNT)),
        "touched_month": _months(changes),
        "changed_person": ids_frame("person_id", changes.of(topics.PERSON)),
        "touched_person": ids_frame("person_id", changes.of(topics.TOUCH_PERSON, topics.CLICK_PERSON)),
        "changed_link": ids_frame("click_id", changes.of(topics.CLICK)),
        "changed_mail": ids_frame("id", changes.of(topics.EMAIL_CLICK)),
        "changed_deal": records_frame("deal_id", (int(key) for key in changes.of(topics.DEALS))),
    }
    with steps(session, _TOUCHED, **given):
        found = session.query("FROM touched_outcome")
        of_deals = session.query(_TOUCHED_DEALS)
    if "deal_contacts" not in rules.scopes:
        of_deals = of_deals.filter(pl.col("account_id").str.starts_with(DEAL_ACCOUNT))
    found = pl.concat([found, of_deals.select(OUTCOME)]).unique()
    found = pl.concat([found, session.query(_OF_WINS, touched=found)]).unique()
    return found.sort(OUTCOME)


def _months(changes: Changes) -> pl.DataFrame:
    """month Date: those in which touches changed, the beginning of time where answers did or none is told."""
    told = changes.of(topics.TOUCH_MONTH) or ["0001-01-01"]
    return pl.DataFrame({"month": [date.fromisoformat(month) for month in told]}, schema={"month": pl.Date})


def _credit(session: Session, keys: pl.DataFrame, read: journeys.Read, rules: Attribution, now: datetime) -> int:
    """Write the credit of some outcomes, with what was read of them. Returns the rows closed and opened."""
    effects = session.read("attribution.channel_effect")
    parts = [
        credit_rules.credits(part.found, part.reasons, effects, rules.model_copy(update={"models": names}))
        for part, names in ((read, rules.reading(answers=False)), (read.said, rules.reading(answers=True)))
        if part is not None and names
    ]
    wanted = pl.concat(parts)
    return session["attribution.credit"].record(wanted, keys, now).height
