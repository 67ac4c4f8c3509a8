"""Which held conversions a delivery looks at again: those whose reason may have gone since it looked last.

A reason goes when the fact, its person, a contact of it, what they clicked, or the row itself changes: the change
journal and the ledger's serial number tell. It goes with time too: at the end of the conversion's age, or when a fact
of the future has come. Everything is looked at when the rules, the account or this program are others, when the ledger
or the warehouse is not the one of the last look, and once a day.

How far a destination has looked is kept in the warehouse, and moves after the ledger's own commit: a crash in between,
or a snapshot that is restored, has rows looked at once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import polars as pl

from crm_attribution.clock import iso, parse_instant
from crm_attribution.contracts.topics import (
    CLICK_PERSON,
    COMPANIES,
    CONTACTS,
    DEALS,
    FORM_SUBMISSION,
    LINK_CLICK,
    MILESTONE,
    PERSON,
    TOUCH_PERSON,
)
from crm_attribution.destinations.accounts import Account
from crm_attribution.ledger.entries import Again
from crm_attribution.ledger.mark import Stand
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.steps import steps

TOPICS = (MILESTONE, PERSON, TOUCH_PERSON, CLICK_PERSON, CONTACTS, COMPANIES, DEALS, LINK_CLICK, FORM_SUBMISSION)
SECTIONS = ("identity", "identifiers", "consent", "conversions", "destinations")


@dataclass
class Looking:
    """Of one account. Made for one delivery: `again`, and `looked` when it has looked."""

    account: Account
    rules: Rules
    _seen: Changes | None = None

    @classmethod
    def of(cls, account: Account, rules: Rules) -> Looking | None:
        """None for HubSpot and alerts, whose rows are about other things: all of those are looked at."""
        return cls(account, rules) if account.destination.plans_from == "milestones" else None

    @property
    def name(self) -> str:
        """What the last look is remembered by."""
        return self.account.key

    @property
    def consumer(self) -> str:
        """The name of its cursor."""
        return f"delivery:{self.name}"

    def again(self, session: Session, stand: Stand, window_end: datetime) -> Again | None:
        """What to look at again; None for everything."""
        ids = ",".join([self.account.id, *sorted(self.account.others)])
        signature = f"{self.rules.signature(*SECTIONS)}:{ids}:{version('crm_attribution')}"
        self._seen = session.journal.unseen(self.consumer, TOPICS, signature)
        last = session.state.looked[self.name]
        if last is None or self._seen.everything:
            return None
        until, serial = parse_instant(last["until"]), int(last["serial"])
        if window_end < until:  # what is due later is not looked at now, so the cursor must not pass it
            self._seen = None
            return None
        if last["ledger"] != stand.ledger or serial > stand.serial or _day(until) != _day(window_end):
            return None
        return Again(_touched(session, self.account.destination.name, self._seen), serial, until)

    def looked(self, session: Session, stand: Stand, window_end: datetime) -> None:
        """Remember how far it has looked, after the ledger's commit."""
        if self._seen is None:
            return
        with session.transaction():
            session.state.looked[self.name] = {
                "ledger": stand.ledger,
                "serial": stand.serial,
                "until": iso(window_end),
            }
            session.journal.advance(self.consumer, self._seen)


def _day(moment: datetime) -> object:
    return moment.astimezone(UTC).date()


_QUEUE = {
    "_persons": """
        SELECT person_id FROM _told_persons
        UNION SELECT person_id FROM identity.alias
            WHERE identifier_type = 'contact' AND identifier IN (SELECT id::VARCHAR FROM _told_contacts)
        UNION SELECT person_id FROM attribution.touch
            WHERE person_id IS NOT NULL AND touch_id IN (SELECT touch_id FROM _told_touches)""",
    "_contacts": """
        SELECT id FROM _told_contacts
        UNION SELECT try_cast(identifier AS BIGINT) FROM identity.alias
            WHERE identifier_type = 'contact' AND person_id IN (SELECT person_id FROM _persons)
        UNION SELECT id FROM raw.contact WHERE associatedcompanyid IN (SELECT id FROM _told_companies)""",
    "_deals": """
        SELECT id FROM _told_deals
        UNION SELECT from_id FROM raw.association
            WHERE from_type = 'deals' AND to_type = 'contacts' AND to_id IN (SELECT id FROM _contacts)""",
    "_people": """
        SELECT person_id FROM _persons
        UNION SELECT person_id FROM identity.alias
            WHERE identifier_type = 'contact' AND identifier IN (SELECT id::VARCHAR FROM _contacts)""",
    "_facts": """
        SELECT milestone, milestone_id FROM _told_facts
        UNION SELECT milestone, milestone_id FROM events.milestone
            WHERE person_id IN (SELECT person_id FROM _people) OR deal_id IN (SELECT id FROM _deals)""",
    "_events": """
        SELECT event_id FROM events.milestone_event SEMI JOIN _facts USING (milestone, milestone_id)
        UNION SELECT milestone_id FROM _told_facts""",
}
"""From what changed to the events of the facts that are about it."""


def _touched(session: Session, destination: str, changes: Changes) -> list[str]:
    """Held conversions that are about something that changed."""
    if changes.idle:
        return []
    forms = changes.frame(FORM_SUBMISSION).select(pl.format("form:{}:{}", *FORM_SUBMISSION.columns))
    clicks = [f"click:{key}" for key in changes.of(LINK_CLICK)]
    given = {
        "_told_facts": changes.frame(MILESTONE),
        "_told_persons": ids_frame("person_id", changes.of(PERSON, TOUCH_PERSON, CLICK_PERSON)),
        "_told_contacts": _records(changes.ids(CONTACTS)),
        "_told_companies": _records(changes.ids(COMPANIES)),
        "_told_deals": _records(changes.ids(DEALS)),
        "_told_touches": ids_frame("touch_id", [*clicks, *forms.to_series()]),
    }
    with steps(session, _QUEUE, **given):
        found = session.query(
            "SELECT conversion_id FROM conversions.conversion WHERE destination = ? AND state = 'held' AND"
            " (milestone_id IN (SELECT event_id FROM _events) OR person_id IN (SELECT person_id FROM _people)"
            " OR contact_id IN (SELECT id FROM _contacts)) ORDER BY 1",
            [destination],
        )
    return found["conversion_id"].to_list()


def _records(ids: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"id": ids}, schema={"id": pl.Int64})
