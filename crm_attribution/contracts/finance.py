"""`finance.*`: what figures were made of at any time, how they moved, and which months are closed. All of it is memory:
written once, never rebuilt."""

from __future__ import annotations

from datetime import date

from crm_attribution.contracts.base import Model, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.topics import RESTATEMENT, TOUCH, VERSION

_SINCE = "known from, UTC: the end of the window that recorded it"
_UNTIL = "known until, UTC; null is current"


@table(
    "finance.milestone_version",
    key=("milestone", "milestone_id", "recorded_at"),
    journal={VERSION: ("milestone", "milestone_id")},
)
class MilestoneVersion(Model):
    """Every business fact as it was known at any time: what marts.milestone shows of it. Superseded rows are closed,
    never changed. Persons are left out."""

    milestone: str = field("events.milestone")
    milestone_id: str = field("events.milestone")
    subtype: str = field("new, expansion or renewal; null without a deal", nullable=True)
    subject: str = field("what it is once per: person, deal or account")
    state: str = field("live or reversed")
    reason: str = field("why it is reversed", nullable=True)
    suppressed_by: str = field("rule that marks internal and test traffic", nullable=True)
    imported: bool = field("the carrier came from an import, a migration or an integration")
    booked_on: date = field("finance day in the account's time zone")
    occurred_at: Timestamp = field("when it happened, UTC")
    time_basis: str = field("where occurred_at comes from", nullable=True)
    observed_at: Timestamp = field("when HubSpot recorded the carrier, UTC")
    rule: str = field("the rule that made it")
    linked_events: int = field("events that tell this fact", ge=0)
    account_id: str = field("identity.account: company:ID, domain:NAME or deal:ID", nullable=True)
    account_name: str = field("company name; null for domain:NAME and deal:ID", nullable=True)
    account_domain: str = field("company domain; null for domain:NAME and deal:ID", nullable=True)
    deal_id: int = hubspot_id("live deal id", nullable=True)
    currency: str = field("ISO 4217 code of the amounts", nullable=True)
    currency_at_event: str = field("ISO 4217 code of the amounts at the carrier event", nullable=True)
    amount_at_event: int = field("amount at the carrier event, minor units of currency_at_event", nullable=True)
    mrr_at_event: int = field("MRR at the carrier event, minor units of currency_at_event", nullable=True)
    arr_at_event: int = field("ARR at the carrier event, minor units of currency_at_event", nullable=True)
    tcv_at_event: int = field("contract value at the carrier event, minor units of it", nullable=True)
    value_reason: str = field("why a measure was null at the carrier event", nullable=True)
    owner_id: str = field("HubSpot owner id at the carrier event", nullable=True)
    amount_current: int = field("amount, minor units", nullable=True)
    mrr_current: int = field("MRR, minor units", nullable=True)
    arr_current: int = field("ARR, minor units", nullable=True)
    tcv_current: int = field("contract value, minor units", nullable=True)
    mrr_new: int = field("what it adds to the account's MRR, minor units", nullable=True)
    arr_new: int = field("what it adds to the account's ARR, minor units", nullable=True)
    home_currency: str = field("home currency of the HubSpot account, ISO 4217 code", nullable=True)
    rate: str = field("units of home_currency for one of currency, decimal number as text", nullable=True)
    rate_source: str = field("where the rate comes from (events.home_value)", nullable=True)
    rate_on: date = field("the day of a rate of the table", nullable=True)
    amount_home: int = field("amount in the home currency, minor units of it", nullable=True)
    mrr_home: int = field("mrr_new in the home currency, minor units of it", nullable=True)
    arr_home: int = field("arr_new in the home currency, minor units of it", nullable=True)
    tcv_home: int = field("contract value in the home currency, minor units of it", nullable=True)
    recorded_at: Timestamp = field(_SINCE)
    superseded_at: Timestamp = field(_UNTIL, nullable=True)


@table(
    "finance.revenue_version",
    key=("milestone", "milestone_id", "recorded_at"),
    journal={VERSION: ("milestone", "milestone_id")},
)
class RevenueVersion(Model):
    """Every step of an account's revenue as it was known at any time: what marts.revenue_movement shows of it."""

    milestone: str = field("events.revenue")
    milestone_id: str = field("events.revenue")
    cause: str = field("won, priced, lost_after_won, a kind of churn …")
    of_milestone: str = field("the win that gains or loses it")
    of_milestone_id: str = field("that win's id")
    account_id: str = field("identity.account: company:ID, domain:NAME or deal:ID")
    deal_id: int = hubspot_id("live deal id of that win")
    subtype: str = field("new, expansion or renewal, by the deal's pipeline")
    occurred_at: Timestamp = field("when it happened, UTC")
    booked_on: date = field("finance day in the account's time zone")
    currency: str = field("ISO 4217 code of the amounts", nullable=True)
    amount: int = field("change of the deal's amount, minor units", nullable=True)
    mrr: int = field("change of the account's monthly recurring revenue, minor units", nullable=True)
    arr: int = field("change of the account's annual recurring revenue, minor units", nullable=True)
    tcv: int = field("change of the contract value, minor units", nullable=True)
    home_currency: str = field("home currency of the HubSpot account, ISO 4217 code", nullable=True)
    rate: str = field("units of home_currency for one of currency, decimal number as text", nullable=True)
    mrr_home: int = field("mrr in the home currency, minor units of it", nullable=True)
    arr_home: int = field("arr in the home currency, minor units of it", nullable=True)
    recorded_at: Timestamp = field(_SINCE)
    superseded_at: Timestamp = field(_UNTIL, nullable=True)


@table("finance.touch_version", key=("touch_id", "recorded_at"), journal={TOUCH: "touch_id"})
class TouchVersion(Model):
    """What touches were called at any time: a credit row names its touch, this its channel and campaign. A touch that
    is no more, or was erased, keeps its rows, the erased one under another id."""

    touch_id: str = field("attribution.touch or attribution.self_reported; erased:… where the person was erased")
    channel: str = field("channel of the touch")
    source: str = field("utm_source; what looks like an e-mail address is withheld", nullable=True)
    medium: str = field("utm_medium, likewise", nullable=True)
    campaign: str = field("utm_campaign, likewise", nullable=True)
    recorded_at: Timestamp = field(_SINCE)
    superseded_at: Timestamp = field(_UNTIL, nullable=True)


@table("finance.period", key=("month", "recorded_at"))
class Period(Model):
    """Months that were closed or reopened, by whom and why. Append-only: the newest row of a month holds. Closing a
    month closes all before it, reopening one reopens all after it, each with a row of its own."""

    month: date = field("first day of the month, in the account's time zone")
    state: str = field("closed or open", isin=["closed", "open"])
    recorded_at: Timestamp = field(
        "what was known then, UTC, is what a closed month shows; what is recorded later is posted to an open month"
    )
    changed_by: str = field("who closed or reopened it")
    reason: str = field("why")


@table("finance.rule_version", key=("section", "recorded_at"))
class RuleVersion(Model):
    """The mapping's sections as runs found them: a row when one changes, from which figures may change."""

    section: str = field("section of the mapping")
    signature: str = field("fingerprint of it")
    recorded_at: Timestamp = field(_SINCE)


CAUSES = {
    "new": "the outcome was recorded for the first time",
    "erased": "a person was erased, with the touches",
    "archived": "the deal was archived",
    "suppressed": "a rule says now, or no longer, that it is internal or test traffic",
    "stage": "the deal was lost, reopened or won again",
    "currency": "the deal has another currency",
    "close_date": "it is booked in another month",
    "amount": "the deal's values were changed",
    "rate": "it is converted by another rate",
    "identity_rule": "sections identity, accounts or clicks of the mapping were changed",
    "mapping": "another section of the mapping was changed",
    "merge": "persons, companies or deals were merged",
    "split": "a person was split",
    "account": "the deal or a person belongs to another account",
    "late_touch": "a touch was recorded after the outcome",
    "touch_withdrawn": "a touch is none any more: a bot's click, another word about a touch, a record that is gone",
    "touch_label": "a touch has another channel",
    "learned": "a model that learns weighs the channels otherwise",
    "other_outcome": "another fact of the account came, went or moved: it opens the window, or holds a position",
    "not_recorded": "it was recorded by a release that kept no causes",
    "unexplained": "none of these was found: report it",
}
BASES = ["own", "home"]


@table(
    "finance.restatement",
    key=(
        *("recorded_at", "basis", "booked_month", "milestone", "milestone_id"),
        *("model", "scope", "measure", "currency", "channel"),
    ),
    journal={RESTATEMENT: ("milestone", "milestone_id")},
)
class Restatement(Model):
    """How each credited figure moved: between any two instants it differs by the sum of the deltas recorded between
    them. Of several causes at once it is the first in the order of the list."""

    recorded_at: Timestamp = field("when the new figure is known, UTC")
    basis: str = field("own: in the outcome's currency; home: in the account's home currency", isin=BASES)
    booked_month: date = field("first day of the month the figure belongs to")
    milestone: str = field("outcome")
    milestone_id: str = field("its id")
    model: str = field("attribution model")
    scope: str = field("whose touches count")
    measure: str = field("count in millionths of an outcome, others in minor units")
    currency: str = field("ISO 4217 code, empty for count")
    channel: str = field("channel of the touches, or Unattributed")
    old: int = field("what it was, minor units")
    new: int = field("what it is, minor units")
    delta: int = field("new less old, never 0")
    cause: str = field("; ".join(f"{name}: {text}" for name, text in CAUSES.items()), isin=list(CAUSES))
    cause_table: str = field("table of the row that caused it")
    cause_key: str = field("key of that row: the values of its key columns, joined by |")
