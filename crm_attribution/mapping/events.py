"""Sections of events: `lifecycle`, `deals`, `values`, `currency`, `churn`, `milestones` and `suppression`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from crm_attribution.mapping.base import Addresses, Days, Domains, Hours, Minutes, Names, Section, lower_keys

Measure = Literal["amount", "mrr", "arr", "tcv"]
PipelineKind = Literal["new", "expansion", "renewal", "churn", "ignore"]
Carrier = Literal["opportunity_created", "customer_won", "customer_expanded"]
Milestone = Literal[
    "lead_captured",
    "qualified_lead",
    "sales_qualified_lead",
    "meeting_scheduled",
    "opportunity_qualified",
    "demo_completed",
    "negotiation_started",
    "proposal_sent",
    "opportunity_created",
    "customer_won",
    "customer_expanded",
]
"""Every milestone there is: what a rule about another one says would never happen."""

MILESTONES: tuple[str, ...] = get_args(Milestone)

Movement = Literal["revenue_new", "revenue_expanded", "revenue_renewed", "revenue_contracted", "revenue_churned"]
"""Of events.revenue: outcomes that are credited as the win they change."""


class Lifecycle(Section):
    """Lifecycle stage, in lower case, to canonical event; their order; lead statuses that mean recycled."""

    stages: Annotated[dict[str, str], AfterValidator(lower_keys)]
    order: Names
    recycled_lead_status: Names
    own_sources: list[str] = []
    """Ids of the apps that write what HubSpot is told, as its history names them (sourceId)."""


class Deals(Section):
    """Deal stage to canonical event, the kind of each pipeline, and deal types of existing customers."""

    stages: dict[str, str]
    pipelines: dict[str, PipelineKind]
    existing_business: Names
    own_stages: list[str] = []
    """Those of `stages` that the user's file names: they outrank HubSpot's metadata, the shipped ones do not."""

    @property
    def shipped(self) -> dict[str, str]:
        return {stage: name for stage, name in self.stages.items() if stage not in self.own_stages}

    @property
    def own(self) -> dict[str, str]:
        return {stage: name for stage, name in self.stages.items() if stage in self.own_stages}

    @property
    def tracked(self) -> list[str]:
        """Pipelines whose deals make milestones."""
        return [pipeline for pipeline, kind in self.pipelines.items() if kind not in ("churn", "ignore")]


class ValueSource(Section):
    """A property of the user's, else HubSpot's line-item property."""

    property: str | None
    line_items: str | None


class Values(Section):
    """Where MRR, ARR and TCV of a deal come from; months that one amount pays for."""

    mrr: ValueSource
    arr: ValueSource
    tcv: ValueSource
    billing_period_property: str
    term_months_property: str
    billing_months: Annotated[dict[str, Annotated[int, Field(ge=1)]], AfterValidator(lower_keys)]
    target_account_property: str


class Currency(Section):
    """How many days the last exchange rate may lie back."""

    rate_days: Days


class ChurnTold(Section):
    """When recurring revenue ends: a property with values, or a date property."""

    property: str | None
    values: Names
    date_property: str | None

    def names(self) -> list[str]:
        """The properties that are read."""
        return [name for name in (self.property, self.date_property) if name is not None]

    @model_validator(mode="after")
    def _has_values(self) -> ChurnTold:
        if self.property is not None and not self.values:
            raise ValueError("needs `values` of the property that mean churn")
        return self


class Churn(ChurnTold):
    """When that of a won deal ends; `company`: all that of the account, by properties of its company."""

    company: ChurnTold


class Milestones(Section):
    """Windows for slips, echoes, adoption and recreated deals; milestones that a lifecycle change may carry."""

    settle_minutes: Minutes
    echo_hours: Hours
    adopt_days: Days
    recreated_days: Days
    carriers: list[Carrier]


def _record_id(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,18}", text, re.ASCII):
        raise ValueError("must be the id of a HubSpot record: digits only, such as 151")
    return text


RecordId = Annotated[str, AfterValidator(_record_id)]


class Suppression(Section):
    """Internal and test traffic, by domain, address or record id."""

    domains: Domains
    addresses: Addresses
    contact_ids: list[RecordId]
    company_ids: list[RecordId]
    deal_ids: list[RecordId]
