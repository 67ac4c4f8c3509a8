"""`events.*`: what HubSpot said happened (events) and what happened in the business, once (milestones)."""

from __future__ import annotations

from datetime import date

from crm_attribution.contracts.base import Model, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.topics import (
    EVENT,
    HOME_SPEND,
    HOME_VALUE,
    MILESTONE,
    MILESTONE_ACCOUNT,
    RECORD_EVENTS,
    REVENUE_MOVEMENT,
    By,
)
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.money import CURRENCY

EVENT_REASONS = [
    "first",
    "own",
    "adopted",
    "echo",
    "repeated",
    "won_again",
    "later_entry_of_deal",
    "later_entry_of_person",
]
TIME_BASES = ["history", "closedate", "createdate", "became_date", "date_entered"]
BACKDATED = "backdated"
"""A fact dated with a win that lies before it: an opportunity typed in after its close. No cycle time counts it."""


@table(
    "events.event",
    key=("event_id",),
    journal={EVENT: "event_id", By("object_type", RECORD_EVENTS): "record_id"},
)
class Event(Model):
    """A canonical event: an entry into a stage, a skipped stage, a recycled lead, a changed price."""

    event_id: str = field("deterministic id; see identifiers.lifecycle_event_id and deal_event_id")
    event: str = field("canonical name")
    occurred_at: Timestamp = field("when the business action happened, UTC")
    observed_at: Timestamp = field("when HubSpot recorded it, UTC")
    time_basis: str = field("where occurred_at comes from", isin=TIME_BASES)
    source: str = field("HubSpot's sourceType", nullable=True)
    object_type: str = field("contacts, companies or deals", isin=list(OBJECT_TYPES))
    object_id: int = hubspot_id("record id of that time; a merge does not change it")
    record_id: int = hubspot_id("the live record that holds it now")
    contact_id: int = hubspot_id("contact id as it was, for lifecycle events of contacts", nullable=True)
    deal_id: int = hubspot_id("deal id as it was, for deal events", nullable=True)
    from_stage: str = field("stage left, null for the first", nullable=True)
    to_stage: str = field(
        "stage entered (stage_skipped: jumped over; from hs_lead_status: that status), as HubSpot has it"
    )
    left_at: Timestamp = field("when that stage was left, UTC; null while it holds", nullable=True)
    next_stage: str = field("stage it was left for; empty where it was cleared", nullable=True)
    undone: bool = field("it was left backwards or cleared, not passed")
    began: bool = field(
        "deals: it came with the record's creation, or from a stage that nobody names; null for lifecycle changes",
        nullable=True,
    )
    pipeline: str = field("pipeline that owns the stage", nullable=True)
    hubspot_label: str = field("HubSpot's label of the stage", nullable=True)
    owner_id: str = field("owner at that moment", nullable=True)
    company_id: int = hubspot_id("company at that moment", nullable=True)
    company_domain: str = field("its domain", nullable=True)
    company_name: str = field("its name", nullable=True)
    target_account: bool = field("its target-account flag", nullable=True)
    currency: str = field("ISO 4217 code of the amounts at that moment", nullable=True)
    amount: int = field("amount at that moment, minor units", nullable=True)
    amount_before: int = field("deal_amount_changed: amount before, minor units of currency_before", nullable=True)
    currency_before: str = field("deal_amount_changed: currency before", nullable=True)
    mrr: int = field("monthly recurring revenue at that moment, minor units", nullable=True)
    arr: int = field("annual recurring revenue at that moment, minor units", nullable=True)
    tcv: int = field("total contract value at that moment, minor units", nullable=True)
    value_reason: str = field("why a measure is null", nullable=True)
    billing_period: str = field("billing period at that moment", nullable=True)
    suppressed_by: str = field("rule that marks internal and test traffic", nullable=True)
    mapping_version: str = field("version of the mapping that named it")


@table(
    "events.milestone",
    key=("milestone", "milestone_id"),
    journal={MILESTONE: ("milestone", "milestone_id"), MILESTONE_ACCOUNT: "account_id"},
)
class Milestone(Model):
    """A business fact, counted once, however often HubSpot records it."""

    milestone: str = field("lead_captured, qualified_lead, …, customer_won, customer_expanded")
    milestone_id: str = field("event_id of the earliest eligible linked event; of a win won again the first one's")
    subtype: str = field(
        "new, expansion or renewal, by the deal's pipeline (in a new one by dealtype); null without a deal",
        nullable=True,
    )
    subject: str = field("what it is once per", isin=["person", "deal", "account"])
    group_key: str = field("person:ID or account:ID: what is recomputed together")
    event_id: str = field("carrier event: whose time and money these are; of a win won again the standing one")
    rule: str = field("the rule that made it")
    occurred_at: Timestamp = field("when it happened, UTC")
    time_basis: str = field(
        "where occurred_at comes from, as of events; backdated: with a win that lies before it",
        nullable=True,
        isin=[*TIME_BASES, BACKDATED],
    )
    observed_at: Timestamp = field("when HubSpot recorded the carrier, UTC")
    ready_from: Timestamp = field("not to be acted upon before, UTC (waiting for echoes)")
    booked_on: date = field("finance day in the account's time zone: close date of wins, else the day it happened")
    imported: bool = field("the carrier came from an import, a migration or an integration")
    person_id: str = field("person, for facts without a deal; null for facts of deals", nullable=True)
    account_id: str = field("identity.account: company:ID, domain:NAME or deal:ID", nullable=True)
    deal_id: int = hubspot_id("live deal id", nullable=True)
    currency: str = field("ISO 4217 code of the amounts now", nullable=True)
    currency_at_event: str = field("ISO 4217 code of the amounts at the carrier event", nullable=True)
    amount_at_event: int = field("amount at the carrier event, minor units of currency_at_event", nullable=True)
    mrr_at_event: int = field("MRR at the carrier event, minor units of currency_at_event", nullable=True)
    arr_at_event: int = field("ARR at the carrier event, minor units of currency_at_event", nullable=True)
    tcv_at_event: int = field("contract value at the carrier event, minor units of it", nullable=True)
    amount_current: int = field("amount now, minor units", nullable=True)
    mrr_current: int = field("MRR now, minor units", nullable=True)
    arr_current: int = field("ARR now, minor units", nullable=True)
    tcv_current: int = field("contract value now, minor units", nullable=True)
    mrr_new: int = field("what it adds to the account's MRR now; of a renewal only the change", nullable=True)
    arr_new: int = field("what it adds to the account's ARR now; of a renewal only the change", nullable=True)
    possible_duplicate_of: str = field("the same fact of an archived deal this one may be a copy of", nullable=True)
    state: str = field("live or reversed", isin=["live", "reversed"])
    reason: str = field("why it is reversed: archived, reopened, lost_after_won", nullable=True)
    suppressed_by: str = field("rule that marks internal and test traffic", nullable=True)


REVENUE = ["revenue_new", "revenue_expanded", "revenue_renewed", "revenue_contracted", "revenue_churned"]
CHURN = ["churn_property", "churn_date", "churn_pipeline", "churn_company_property", "churn_company_date"]
ENDINGS = ["lost_after_won", "reopened", *CHURN]
CAUSES = ["won", "priced", "renewed_in_another_currency", *ENDINGS]


@table(
    "events.revenue",
    key=("milestone", "milestone_id"),
    journal={REVENUE_MOVEMENT: ("milestone", "milestone_id")},
)
class Revenue(Model):
    """What an account's revenue gained or lost, on the day it did, with the amounts of then. The rows of an account add
    up to what it pays for at any time; milestones of wins show what the wins are worth now. Never add the two up.
    """

    milestone: str = field(
        "revenue_new (the account paid for nothing before), revenue_expanded (more recurring revenue), revenue_renewed"
        " (a renewal that changes none), revenue_contracted (less), revenue_churned (what was won ends)",
        isin=REVENUE,
    )
    milestone_id: str = field("event that made it; where it made several, with a suffix")
    cause: str = field(
        "won; priced (the deal's values were changed later than milestones.settle_minutes after the win);"
        " renewed_in_another_currency; lost_after_won, reopened; churn_property, churn_date, churn_pipeline,"
        " churn_company_property, churn_company_date (mapping)",
        isin=CAUSES,
    )
    of_milestone: str = field("the win that gains or loses it, events.milestone: its touches get the credit")
    of_milestone_id: str = field("that win's id")
    group_key: str = field("account:ID: what is recomputed together")
    account_id: str = field("identity.account: company:ID, domain:NAME or deal:ID")
    deal_id: int = hubspot_id("live deal id of that win")
    subtype: str = field("new, expansion or renewal, by the deal's pipeline")
    occurred_at: Timestamp = field("when it happened, UTC; of a churn date the date itself, which may be to come")
    booked_on: date = field("finance day in the account's time zone: close date of wins, else the day it happened")
    rated_on: date = field("finance day of the win: by its rate it is converted")
    currency: str = field("ISO 4217 code of the amounts", nullable=True)
    amount: int = field("change of the deal's amount, minor units; null where it does not change", nullable=True)
    mrr: int = field("change of the account's monthly recurring revenue, minor units", nullable=True)
    arr: int = field("change of the account's annual recurring revenue, minor units", nullable=True)
    tcv: int = field("change of the contract value, minor units", nullable=True)


RATE_SOURCES = ["home", "deal", "deal_amounts", "table", "table_earlier", "deal_now"]


@table("events.home_value", key=("milestone", "milestone_id"), journal={HOME_VALUE: ("milestone", "milestone_id")})
class HomeValue(Model):
    """What a milestone is worth in the account's home currency: converted once, by one rate. A row for each that has
    an amount, where the account has a home currency. Whoever splits a value splits the converted one.

    https://knowledge.hubspot.com/account-management/add-and-edit-your-hubspot-currencies
    """

    milestone: str = field("events.milestone")
    milestone_id: str = field("events.milestone")
    currency: str = field("ISO 4217 code of what is converted", str_matches=CURRENCY)
    home_currency: str = field("home currency of the account, ISO 4217", str_matches=CURRENCY)
    rate: str = field(
        "units of home_currency for one of currency, decimal number as text; null where there is none: then the row is"
        " not converted, and events.gap names the currency",
        nullable=True,
    )
    rate_source: str = field(
        "home: it is in the home currency; deal: the won deal's own rate, which HubSpot keeps from its close"
        " (hs_exchange_rate); deal_amounts: likewise, amount_in_home_currency over amount; table: raw.exchange_rate of"
        " booked_on; table_earlier: the last of the days before it; deal_now: HubSpot's present rate of a deal that"
        " is not won, which moves; null without a rate",
        nullable=True,
        isin=RATE_SOURCES,
    )
    rate_on: date = field("table, table_earlier: the day of the rate", nullable=True)
    amount_home: int = field("amount_current in the home currency, minor units of it", nullable=True)
    mrr_home: int = field("mrr_new in the home currency, minor units of it", nullable=True)
    arr_home: int = field("arr_new in the home currency, minor units of it", nullable=True)
    tcv_home: int = field("tcv_current in the home currency, minor units of it", nullable=True)


@table("events.home_spend", key=("period", "starts_on", "currency", "amount"), journal={HOME_SPEND: "currency"})
class HomeSpend(Model):
    """What an amount that was spent is in the account's home currency, by the rate of its time: of each amount of
    raw.ad_spend (a day) and of raw.cost (a month) once, where the account has a home currency."""

    period: str = field("day or month", isin=["day", "month"])
    starts_on: date = field("the day, or the first day of the month")
    currency: str = field("ISO 4217 code of `amount`", str_matches=CURRENCY)
    amount: int = field("what was spent, minor units of `currency`")
    home_currency: str = field("home currency of the account, ISO 4217", str_matches=CURRENCY)
    rate: str = field(
        "units of home_currency for one of currency, decimal number as text; null where there is none: then the row is"
        " not converted, and events.gap names the currency",
        nullable=True,
    )
    rate_source: str = field(
        "home: it is in the home currency; table: raw.exchange_rate of the day, of a month its last one there;"
        " table_earlier: the last of the days before; null without a rate",
        nullable=True,
        isin=["home", "table", "table_earlier"],
    )
    rate_on: date = field("table, table_earlier: the day of the rate", nullable=True)
    amount_home: int = field("the amount in the home currency, minor units of it", nullable=True)


@table("events.stage", key=("stage_id",))
class Stage(Model):
    """What each deal stage of the portal means now, as milestones take it: marts ask here, so that none differs."""

    stage_id: str = field("HubSpot stage id")
    meaning: str = field("open, won or lost", isin=["open", "won", "lost"])
    decided_by: str = field(
        "mapping: an entry of the user's own; hubspot: the stage's metadata (closed, probability 1)",
        isin=["mapping", "hubspot"],
    )


GAPS = ["stage_unknown", "pipeline_unmapped", "stage_disagrees", "deal_refused", "rate_missing"]


@table("events.gap", key=("gap", "subject"))
class Gap(Model):
    """What the figures leave out: each has a failing check until it is closed."""

    gap: str = field(
        "stage_unknown (no list of pipelines names it), pipeline_unmapped (no kind in the mapping), stage_disagrees"
        " (the mapping contradicts HubSpot's metadata), deal_refused (its newest version cannot be read), rate_missing"
        " (amounts in a currency that no rate turns into the home currency)",
        isin=GAPS,
    )
    subject: str = field("stage id, pipeline id, deal id, or ISO 4217 code of the currency")
    records: int = field(
        "deals concerned, of rate_missing milestones and amounts spent; null where it is about the mapping",
        nullable=True,
    )
    first_at: Timestamp = field(
        "earliest of their entries, milestones or days of spend, or when the deal was refused, UTC", nullable=True
    )


@table(
    "events.milestone_event",
    key=("milestone", "milestone_id", "event_id"),
    journal={MILESTONE: ("milestone", "milestone_id")},
)
class MilestoneEvent(Model):
    """Every event of a business fact, and why it belongs to it."""

    milestone: str = field("events.milestone")
    milestone_id: str = field("events.milestone")
    event_id: str = field("events.event")
    role: str = field(
        "carrier: the milestone has its time; linked: it is the same fact once more", isin=["carrier", "linked"]
    )
    reason: str = field(
        "first: the earliest entry into the stage; own: a lifecycle change that no deal explains; adopted: one that a"
        " later deal took over; echo: one that a deal explains; repeated: the account or person has it already;"
        " won_again, later_entry_of_deal, later_entry_of_person: a later event of the same deal or person",
        isin=EVENT_REASONS,
    )
