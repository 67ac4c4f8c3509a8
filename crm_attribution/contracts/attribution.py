"""`attribution.*`: touches, and the credit each gets for an outcome."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, Strings, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.topics import TOUCH_ACCOUNT, TOUCH_PERSON

MEASURES = ["count", "amount", "mrr", "arr", "tcv"]


@table("attribution.touch", key=("touch_id",), journal={TOUCH_ACCOUNT: "account_id", TOUCH_PERSON: "person_id"})
class Touch(Model):
    """A marketing touch of a known person, or of an account where a shared mailbox names no person."""

    touch_id: str = field("click:ID, email:CREATED:ID (epoch milliseconds) or form:FORM:SUBMISSION")
    touched_at: Timestamp = field("when it happened, UTC")
    kind: str = field(
        "link_click, email_click or form_submission", isin=["link_click", "email_click", "form_submission"]
    )
    person_id: str = field("person; null where only the account is known: person scope leaves it out", nullable=True)
    contact_id: int = hubspot_id("contact the touch resolved to", nullable=True)
    account_id: str = field(
        "identity.account the person belonged to then, company:ID or domain:NAME; without a person, that"
        " of all who have the mailbox, else of its domain",
        nullable=True,
    )
    channel: str = field("channel by the mapping's rules")
    source: str = field("utm_source, lower case; hubspot for e-mail clicks without one", nullable=True)
    medium: str = field("utm_medium, lower case; email for e-mail clicks without one", nullable=True)
    campaign: str = field("utm_campaign; the send (emailCampaignId) for e-mail clicks without one", nullable=True)
    click_id_kinds: Strings = field("which platforms' click ids it carries (gclid, fbclid, li_fat_id, …)")
    origin: str = field("table and key of the source row")


@table("attribution.credit", key=("milestone", "milestone_id", "model", "scope", "measure", "touch_id", "recorded_at"))
class Credit(Model):
    """Credit of an outcome to touches. Bitemporal: superseded rows are closed, never changed."""

    milestone: str = field("outcome")
    milestone_id: str = field("outcome id, events.milestone")
    model: str = field("attribution model")
    scope: str = field("whose touches count: account", isin=["account"])
    measure: str = field("count in millionths of an outcome, others in minor units", isin=MEASURES)
    currency: str = field("ISO 4217 code, empty for count")
    touch_id: str = field("touch; empty is the unattributed row")
    credit: int = field("share of the outcome, in the measure's unit")
    recorded_at: Timestamp = field("known from: the end of the window that computed it, UTC")
    superseded_at: Timestamp = field("known until, UTC; null is current", nullable=True)
