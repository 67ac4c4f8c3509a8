"""The derived layers, once, in their order: what an hourly run does between extraction and sending.

Assets, rebuild, dry run, the privacy job and the tests read this list. A test compares `reads` and `writes` with the
tables that each step's SQL names while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from crm_attribution.attribution import credits, parameters, spend_campaigns, touches
from crm_attribution.contracts.topics import (
    ACCOUNT,
    ACCOUNT_DETAILS,
    ACTIVITY,
    AD_CAMPAIGN,
    AD_SPEND,
    CLICK,
    CLICK_FORM,
    CLICK_PERSON,
    COMPANIES,
    CONTACTS,
    COST,
    CREDIT,
    DEAL_ACCOUNT,
    DEALS,
    EMAIL,
    EMAIL_CLICK,
    EVENT_COMPANIES,
    EVENT_CONTACTS,
    EVENT_DEALS,
    EXCHANGE_RATE,
    FORM_SUBMISSION,
    HOME_SPEND,
    HOME_VALUE,
    LINK_CLICK,
    MILESTONE,
    MILESTONE_ACCOUNT,
    OFFLINE_TOUCH,
    PERSON,
    PERSON_CHANGE,
    PIPELINE_STAGE,
    REVENUE_MOVEMENT,
    TOUCH_ACCOUNT,
    TOUCH_MONTH,
    TOUCH_PERSON,
    Topic,
)
from crm_attribution.conversions import traits
from crm_attribution.conversions.identify import TOLD
from crm_attribution.events import events, gaps, home_spend, home_values, milestones
from crm_attribution.finance import figures
from crm_attribution.identity import clicks
from crm_attribution.identity import update as identity
from crm_attribution.ledger.tables import ATTEMPT, CONVERSION, QUALITY, RECEIPT, REPLAY
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step of the pipeline reads and writes, by table (`schema.table`).

    Attributes:
        name: of a layer also that of its cursor.
        reads: tables it reads, without those it writes.
        writes: tables it writes; the first one's asset shows the step's figures.
        memory: those of them that a rebuild keeps.
        counts: tables of later steps it only counts for its figures, the log of what was read, and what HubSpot was
            told before.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    memory: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layer(Step):
    """A step that follows the journal with one cursor.

    Attributes:
        update: brings the tables up to date with the changes, in the transaction that moves the cursor.
        topics: of the journal.
        sections: of the mapping; when one changes, everything is derived again.
    """

    update: Callable[[Session, Changes, Rules, datetime], Report]
    topics: tuple[Topic, ...]
    sections: tuple[str, ...]


_RECORDS = ("raw.contact", "raw.company", "raw.deal")
_EVENT_RULES = ("version", "lifecycle", "deals", "values", "suppression", "milestones", "churn")

IDENTITY = Layer(
    name="identity",
    update=identity.update,
    topics=(CONTACTS, COMPANIES, DEALS, LINK_CLICK, FORM_SUBMISSION),
    sections=("identity", "accounts", "values"),
    reads=(
        *_RECORDS,
        *("raw.property_history", "raw.association", "raw.merge", "raw.deletion"),
        *("raw.link_click", "raw.form_submission"),
    ),
    writes=(
        *("identity.person", "identity.alias", "identity.node", "identity.edge", "identity.edge_rejected"),
        *("identity.person_change", "identity.account", "identity.account_alias", "identity.membership"),
        *("identity.account_domain", "identity.deal_account"),
    ),
    memory=("identity.person", "identity.alias", "identity.node", "identity.person_change"),
    counts=("events.event", "conversions.conversion"),
)
CLICKS = Layer(
    name="clicks",
    update=clicks.update,
    topics=(LINK_CLICK, EMAIL_CLICK, FORM_SUBMISSION, PERSON, EMAIL),
    sections=("identity", "clicks"),
    reads=(
        *("identity.person", "identity.alias", "identity.edge", "identity.node"),
        *("raw.link_click", "raw.email_click", "raw.form_submission", "raw.merge", "raw.contact"),
    ),
    writes=("identity.click", "identity.email_click"),
)
EVENTS = Layer(
    name="events",
    update=events.update,
    topics=(CONTACTS, COMPANIES, DEALS, ACCOUNT, DEAL_ACCOUNT, PERSON, PIPELINE_STAGE, ACCOUNT_DETAILS),
    sections=_EVENT_RULES,
    reads=(
        *("identity.alias", "identity.membership", "identity.account", "identity.account_alias"),
        *("identity.deal_account", "raw.pipeline_stage", "raw.stage_meaning", "raw.account"),
        *_RECORDS,
        *("raw.property_history", "raw.association", "raw.merge"),
    ),
    writes=("events.event",),
    counts=(TOLD,),
)
MILESTONES = Layer(
    name="milestones",
    update=milestones.update,
    topics=(
        *(EVENT_CONTACTS, EVENT_COMPANIES, EVENT_DEALS, COMPANIES, DEALS, PERSON, ACCOUNT, DEAL_ACCOUNT),
        *(PIPELINE_STAGE, ACCOUNT_DETAILS),
    ),
    sections=_EVENT_RULES,
    reads=(
        *("events.event", "identity.person", "identity.alias", "identity.membership", "identity.account"),
        *("identity.account_alias", "identity.deal_account", "raw.account", "raw.deal", "raw.association"),
        *("raw.company", "raw.merge", "raw.deletion", "raw.pipeline_stage", "raw.property_history"),
    ),
    writes=("events.milestone", "events.milestone_event", "events.revenue"),
)
HOME_VALUES = Layer(
    name="home_values",
    update=home_values.update,
    topics=(MILESTONE, REVENUE_MOVEMENT, DEALS, EXCHANGE_RATE, ACCOUNT_DETAILS),
    sections=("currency",),
    reads=("events.milestone", "events.revenue", "raw.deal", "raw.exchange_rate", "raw.account"),
    writes=("events.home_value",),
)
SPENT = Layer(
    name="home_spend",
    update=home_spend.update,
    topics=(AD_SPEND, COST, EXCHANGE_RATE, ACCOUNT_DETAILS),
    sections=("currency",),
    reads=("raw.ad_spend", "raw.cost", "raw.exchange_rate", "raw.account"),
    writes=("events.home_spend",),
)
SPEND_CAMPAIGNS = Layer(
    name="spend_campaigns",
    update=spend_campaigns.update,
    topics=(AD_CAMPAIGN,),
    sections=("spend", "touches"),
    reads=("raw.ad_spend", "raw.campaign"),
    writes=("attribution.spend_campaign",),
)
TOUCHES = Layer(
    name="touches",
    update=touches.update,
    topics=(
        *(CONTACTS, CLICK, CLICK_PERSON, LINK_CLICK, EMAIL_CLICK, FORM_SUBMISSION, PERSON, CLICK_FORM, EMAIL, ACCOUNT),
        *(OFFLINE_TOUCH, ACTIVITY),
    ),
    sections=("touches", "accounts", "identity"),
    reads=(
        *("identity.click", "identity.email_click", "identity.person", "identity.alias", "identity.edge"),
        *("identity.node", "identity.membership", "identity.account", "identity.account_alias"),
        *("raw.link_click", "raw.email_click", "raw.form_submission", "raw.merge", "raw.contact"),
        *("raw.property_history", "raw.offline_touch", "raw.activity"),
    ),
    writes=("attribution.touch", "attribution.telling", "attribution.self_reported"),
)
CREDITS = Layer(
    name="credits",
    update=credits.update,
    topics=(
        *(MILESTONE, MILESTONE_ACCOUNT, TOUCH_ACCOUNT, TOUCH_PERSON, TOUCH_MONTH, PERSON, DEALS),
        *(CLICK, CLICK_PERSON, EMAIL_CLICK, HOME_VALUE, REVENUE_MOVEMENT),
    ),
    sections=("attribution",),
    reads=(
        *("attribution.touch", "attribution.self_reported", "events.milestone", "events.revenue", "events.home_value"),
        *("identity.alias", "identity.membership", "identity.click"),
        *("identity.email_click", "raw.contact", "raw.association", "raw.email_click"),
    ),
    writes=("attribution.credit", "attribution.journey", "attribution.channel_effect"),
    memory=("attribution.credit",),
)

_FIGURES = (
    *("finance.milestone_version", "finance.revenue_version", "finance.touch_version", "finance.rule_version"),
    "finance.restatement",
)
FIGURES = Layer(
    name="figures",
    update=figures.update,
    topics=(
        *(MILESTONE, HOME_VALUE, REVENUE_MOVEMENT, ACCOUNT, TOUCH_ACCOUNT, TOUCH_PERSON, CREDIT, PERSON_CHANGE, DEALS),
        *(EVENT_CONTACTS, EVENT_COMPANIES, EVENT_DEALS),
    ),
    sections=(),
    reads=(
        *("events.event", "events.milestone", "events.milestone_event", "events.revenue", "events.home_value"),
        *("attribution.touch", "attribution.self_reported", "attribution.credit", "attribution.channel_effect"),
        *("identity.account", "identity.person_change", "identity.account_alias", "raw.merge", "raw.deletion"),
        *("raw.property_history", "raw.exchange_rate"),
    ),
    writes=_FIGURES,
    memory=_FIGURES,
)

GAPS = Layer(
    name="gaps",
    update=gaps.update,
    topics=(EVENT_DEALS, PIPELINE_STAGE, DEALS, MILESTONE, HOME_VALUE, HOME_SPEND),
    sections=("deals",),
    reads=("events.event", "events.home_value", "events.home_spend", "events.milestone", "raw.pipeline_stage"),
    writes=("events.gap", "events.stage"),
)

PARAMETERS = Layer(
    name="parameters",
    update=parameters.update,
    topics=(),
    sections=("attribution", "spend"),
    reads=(),
    writes=("attribution.parameter",),
)

LAYERS = (
    *(IDENTITY, CLICKS, EVENTS, MILESTONES, HOME_VALUES, SPENT, SPEND_CAMPAIGNS, TOUCHES, CREDITS, FIGURES, GAPS),
    PARAMETERS,
)

PLANNING = Step(
    name="conversions",
    reads=(
        *("events.event", "events.milestone", "events.milestone_event"),
        *("identity.alias", "raw.association", "raw.contact"),
    ),
    writes=(CONVERSION,),
    memory=(CONVERSION,),
)
"""`conversions.plan.update`: a cursor per destination, the settings and the clock besides the rules."""

TELLING = Step(
    name="told",
    reads=(
        *("attribution.touch", "raw.link_click", "raw.offline_touch", "raw.account"),
        *("raw.merge", "raw.association", "raw.deal", "raw.pipeline_stage"),
        *("raw.identify", "raw.property", "raw.contact", "raw.company"),
        *("identity.account", "identity.account_domain", "identity.alias", "identity.membership"),
        *(traits.TABLE, traits.EVENTS),
    ),
    writes=(CONVERSION, TOLD),
    memory=(CONVERSION, TOLD),
)
"""`conversions.plan.plan_told` of what HubSpot is told; a part of planning."""

COMPUTING = Step(
    name="traits",
    reads=("attribution.touch", "identity.membership", "identity.person", "identity.account_alias", "raw.contact"),
    writes=(traits.TABLE, traits.EVENTS),
    memory=(traits.TABLE, traits.EVENTS),
)
"""`conversions.traits.update`, of the files of the product; a part of planning."""

ALERTING = Step(
    name="alerts",
    reads=(
        *("events.event", "finance.restatement", "finance.period", "raw.webhook_event"),
        *("raw.deal", "raw.pipeline_stage"),
    ),
    writes=(CONVERSION,),
    memory=(CONVERSION,),
    counts=("raw.extraction",),
)
"""`conversions.plan.plan_told` of alerts, and `conversions.alerts` when they are sent."""

SENDING = Step(
    name="delivery",
    reads=(
        *("events.milestone", "events.milestone_event", "attribution.touch", "attribution.telling"),
        *("identity.person", "identity.alias", "raw.property_history"),
        *("raw.contact", "raw.company", "raw.link_click", "raw.form_submission", "raw.association", "raw.merge"),
        *("raw.offline_touch", "raw.account", "raw.deal", "raw.pipeline_stage", TOLD),
    ),
    counts=("raw.extraction",),
    writes=(ATTEMPT, RECEIPT, QUALITY, CONVERSION),
    memory=(ATTEMPT, RECEIPT, QUALITY, CONVERSION),
)
"""`delivery.deliver` with `conversions.recipients`, of every destination."""

REPLAYING = Step(
    name="replay",
    reads=("events.milestone", "events.milestone_event", "attribution.touch"),
    writes=(REPLAY, CONVERSION),
    memory=(REPLAY, CONVERSION),
)
"""`delivery.replay`, by a person's wish."""


def run(layer: Layer, session: Session, rules: Rules, as_of: datetime) -> Report:
    """Bring one layer up to date in one transaction. `as_of` is the end of the run's window."""
    with session.following(layer.name, layer.topics, rules.signature(*layer.sections)) as changes:
        return layer.update(session, changes, rules, as_of)


def derive(session: Session, rules: Rules, as_of: datetime, layers: tuple[Layer, ...] = LAYERS) -> dict[str, int]:
    """Bring layers up to date, in their order; rows changed by layer."""
    return {layer.name: run(layer, session, rules, as_of).changed for layer in layers}


def forget(session: Session) -> None:
    """Empty what can be derived again; what is memory stays. The next `derive` makes everything from raw."""
    with session.transaction():
        session.truncate(DERIVED)
        session.journal.forget([layer.name for layer in LAYERS])


def needed_by(step: Step) -> tuple[Layer, ...]:
    """The layers that a step depends on, directly or through others, in their order."""
    wanted, found = set(step.reads), []
    for layer in reversed(LAYERS):
        if wanted & set(layer.writes):
            wanted |= set(layer.reads)
            found.append(layer)
    return tuple(reversed(found))


DERIVED = [table for layer in LAYERS for table in layer.writes if table not in layer.memory]
"""Tables that a rebuild empties."""
