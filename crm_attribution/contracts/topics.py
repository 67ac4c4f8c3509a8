"""Topics of the change journal: whose keys changed. Contracts say which table writes to which (`journal`).

A key has one value per column of its topic, as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class Topic(str):
    """The name of a topic, with the columns of its keys."""

    columns: tuple[str, ...]

    def __new__(cls, name: str, *columns: str) -> Topic:
        made = super().__new__(cls, name)
        made.columns = columns
        return made


CONTACTS = Topic("contacts", "id")
COMPANIES = Topic("companies", "id")
DEALS = Topic("deals", "id")
LINK_CLICK = Topic("link_click", "click_id")
EMAIL_CLICK = Topic("email_click", "id")
FORM_SUBMISSION = Topic("form_submission", "form_id", "conversion_id")
ACTIVITY = Topic("activity", "kind", "id")
OFFLINE_TOUCH = Topic("offline_touch", "touch_id")
IDENTIFY = Topic("identify", "message_id")
PIPELINE_STAGE = Topic("pipeline_stage", "stage_id")
ACCOUNT_DETAILS = Topic("account_details", "portal_id")
EXCHANGE_RATE = Topic("exchange_rate", "from_currency", "to_currency", "date")
AD_SPEND = Topic("ad_spend", "date")
AD_CAMPAIGN = Topic("ad_campaign", "platform", "ad_account", "campaign_id")
COST = Topic("cost", "month")

TRAIT = Topic("trait", "subject_type", "subject_id")
AUDIENCE = Topic("audience", "event_id")

PERSON = Topic("person", "person_id")
PERSON_CHANGE = Topic("person_change", "person_id", "other_person_id")
EMAIL = Topic("email", "node_id")
"""E-mails that other records show than before, or that belong to another person."""
ACCOUNT = Topic("account", "account_id")
DEAL_ACCOUNT = Topic("deal_account", "deal_id")
CLICK = Topic("click", "click_id")
CLICK_FORM = Topic("click_form", "form_id", "conversion_id")
CLICK_PERSON = Topic("click_person", "person_id")

EVENT_CONTACTS = Topic("event_contacts", "record_id")
EVENT_COMPANIES = Topic("event_companies", "record_id")
EVENT_DEALS = Topic("event_deals", "record_id")
EVENT = Topic("event", "event_id")
MILESTONE = Topic("milestone", "milestone", "milestone_id")
MILESTONE_ACCOUNT = Topic("milestone_account", "account_id")
REVENUE_MOVEMENT = Topic("revenue", "milestone", "milestone_id")
HOME_VALUE = Topic("home_value", "milestone", "milestone_id")
HOME_SPEND = Topic("home_spend", "currency")
TOUCH_ACCOUNT = Topic("touch_account", "account_id")
TOUCH_PERSON = Topic("touch_person", "person_id")
TOUCH_MONTH = Topic("touch_month", "month")
"""First days of months (UTC) in which a touch came, changed or went; of answers the beginning of time."""
CREDIT = Topic("credit", "milestone", "milestone_id")
JOURNEY = Topic("journey", "milestone", "milestone_id")
TOUCH = Topic("touch", "touch_id")
VERSION = Topic("version", "milestone", "milestone_id")
RESTATEMENT = Topic("restatement", "milestone", "milestone_id")

OF_MODELS = (EVENT, JOURNEY, TOUCH, VERSION, RESTATEMENT)
"""What only SQL models follow."""

RECORDS = {"contacts": CONTACTS, "companies": COMPANIES, "deals": DEALS}
RECORD_EVENTS = {"contacts": EVENT_CONTACTS, "companies": EVENT_COMPANIES, "deals": EVENT_DEALS}


@dataclass(frozen=True)
class By:
    """A column whose value tells the topic."""

    column: str
    topics: Mapping[str, Topic]

    def __hash__(self) -> int:
        return hash(self.column)


@dataclass(frozen=True)
class Entry:
    """What a changed row tells the journal.

    Attributes:
        topics: it may write to.
        topic_sql: which of them, over the row.
        key_sql: the key's values, over the row; a null in one means nothing is journalled.
    """

    topics: tuple[Topic, ...]
    topic_sql: str
    key_sql: tuple[str, ...]


Journal = Mapping[Topic | By, str | tuple[str, ...] | list[str]]
"""Topic -> SQL over the row: one value, a tuple for a key of several, a list where several values are keys."""


def entries(journal: Journal) -> tuple[Entry, ...]:
    """The journal declared on a contract, entry by entry."""
    found = []
    for about, keys in journal.items():
        if isinstance(about, By):
            cases = " ".join(f"WHEN '{value}' THEN '{topic}'" for value, topic in about.topics.items())
            topics, topic_sql = tuple(about.topics.values()), f"CASE {about.column} {cases} END"
        else:
            topics, topic_sql = (about,), f"'{about}'"
        for key in keys if isinstance(keys, list) else [keys]:
            found.append(Entry(topics, topic_sql, (key,) if isinstance(key, str) else key))
    return tuple(found)
