"""The mapping file: business rules, merged from the shipped `mapping.yaml` and a file of the user's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from crm_attribution import layered_yaml
from crm_attribution.attribution.models import models
from crm_attribution.attribution.models.base import Model as AttributionModel
from crm_attribution.clock import parse_instant
from crm_attribution.errors import ConfigurationError
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.identifiers import ascii_host, visible

SHIPPED = Path(__file__).with_name("mapping.yaml")

Measure = Literal["amount", "mrr", "arr", "tcv"]
PipelineKind = Literal["new", "expansion", "renewal", "churn", "ignore"]
Scope = Literal["account", "deal_contacts"]
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

Movement = Literal["revenue_new", "revenue_expanded", "revenue_renewed", "revenue_contracted", "revenue_churned"]
"""Of events.revenue: outcomes that are credited as the win they change."""

Outcome = Literal[Milestone, Movement]

_CENTURY = timedelta(days=36_500)
Days = Annotated[int, Field(ge=0, le=_CENTURY // timedelta(days=1))]
Hours = Annotated[int, Field(ge=0, le=_CENTURY // timedelta(hours=1))]
Minutes = Annotated[int, Field(ge=0, le=_CENTURY // timedelta(minutes=1))]
Seconds = Annotated[int, Field(ge=0, le=_CENTURY // timedelta(seconds=1))]
"""A length of time that can be taken from a date of ours: up to a century."""

ToldBy = Literal["ad_click", "latest_source", "original_source"]
Activity = Literal["meeting", "call", "marketing_event"]
TouchKind = Annotated[
    Literal["link_click", "email_click", "form_submission", "offline_touch"] | Activity | ToldBy,
    BeforeValidator(lambda given: given.lower() if isinstance(given, str) else given),
]
T = TypeVar("T")


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _of_object_types(lists: dict[str, list[str]]) -> dict[str, list[str]]:
    unknown, missing = sorted(lists.keys() - OBJECT_TYPES.keys()), sorted(OBJECT_TYPES.keys() - lists.keys())
    if unknown or missing:
        wrong = [*(f"{name} is no object type" for name in unknown), *(f"{name} is missing" for name in missing)]
        raise ValueError(f"{'; '.join(wrong)}; there are {', '.join(OBJECT_TYPES)}")
    return lists


PropertyLists = Annotated[dict[str, list[str]], AfterValidator(_of_object_types)]
"""Names of properties for each object type of `hubspot/objects.py`."""


class Extraction(_Rules):
    association_calls: int = Field(ge=0)
    lookup_calls: int = Field(ge=0)
    reconcile_calls: int = Field(ge=0)


def _lower(names: list[str]) -> list[str]:
    return [name.lower() for name in names]


def _lower_keys(values: dict[str, T]) -> dict[str, T]:
    return {name.lower(): value for name, value in values.items()}


Names = Annotated[list[str], AfterValidator(_lower)]
"""Compared in lower case, written in any."""


def _hosts(names: list[str]) -> list[str]:
    """Host names in their IDNA form.

    Raises:
        ValueError: for what is no host name.
    """
    hosts = {name: ascii_host(visible(name).removeprefix("@")) for name in names}
    wrong = [name for name, host in hosts.items() if host is None or not re.fullmatch(r"[a-z0-9._-]+", host)]
    if wrong:
        raise ValueError(f"no domain: {', '.join(map(repr, wrong))}; write it as in firm.com or b\u00fccher.example")
    return [host for host in hosts.values() if host]


Domains = Annotated[list[str], AfterValidator(_hosts)]
"""Compared in lower case and in IDNA form, written in any."""


def _addresses(patterns: list[str]) -> list[str]:
    """E-mail patterns in lower case, their domains in IDNA form where they have letters beyond ASCII."""
    parts = [pattern.lower().rpartition("@") for pattern in patterns]
    return [f"{local}{at}{host if host.isascii() else ascii_host(host) or host}" for local, at, host in parts]


Addresses = Annotated[list[str], AfterValidator(_addresses)]
"""E-mail addresses, `*` for anything."""


class Lifecycle(_Rules):
    stages: Annotated[dict[str, str], AfterValidator(_lower_keys)]
    order: Names
    recycled_lead_status: Names


class Deals(_Rules):
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


class ValueSource(_Rules):
    property: str | None
    line_items: str | None


class Values(_Rules):
    mrr: ValueSource
    arr: ValueSource
    tcv: ValueSource
    billing_period_property: str
    term_months_property: str
    billing_months: Annotated[dict[str, Annotated[int, Field(ge=1)]], AfterValidator(_lower_keys)]
    target_account_property: str


class Currency(_Rules):
    rate_days: Days


class Churn(_Rules):
    property: str | None
    values: Names
    date_property: str | None

    @model_validator(mode="after")
    def _has_values(self) -> Churn:
        if self.property is not None and not self.values:
            raise ValueError("needs `values` of the property that mean churn")
        return self


class Milestones(_Rules):
    settle_minutes: Minutes
    echo_hours: Hours
    adopt_days: Days
    recreated_days: Days
    carriers: list[Carrier]


NODE_TYPES = ("contact", "email", "gclid", "fbclid", "li_fat_id", "msclkid", "ttclid")


def _pair(pair: tuple[str, str]) -> tuple[str, str]:
    """Two identifiers written `type:value`; e-mails in lower case; the smaller first."""
    written = []
    for text in pair:
        kind, colon, value = text.strip().partition(":")
        if kind not in NODE_TYPES or not colon or not value.strip():
            raise ValueError(f"write each identifier as type:value, with a type of {', '.join(NODE_TYPES)}")
        value = value.strip()
        written.append(f"{kind}:{value.lower() if kind == 'email' else value}")
    one, other = sorted(written)
    if one == other:
        raise ValueError("names one identifier twice")
    return one, other


Pair = Annotated[tuple[str, str], AfterValidator(_pair)]


class Identity(_Rules):
    include: list[Pair]
    exclude: list[Pair]
    blocked_values: Names
    blocked_domains: Domains
    role_mailboxes: Names
    shared_identifier_contacts: int = Field(ge=1)
    person_emails: int = Field(ge=1)
    person_size: int = Field(ge=2)
    click_id_properties: dict[str, Literal["gclid", "fbclid", "li_fat_id", "msclkid", "ttclid"]]
    click_back_days: Days
    click_forward_hours: Hours
    click_reopen_days: Days

    @field_validator("exclude")
    @classmethod
    def _no_contradiction(cls, pairs: list[tuple[str, str]], info: ValidationInfo) -> list[tuple[str, str]]:
        both = set(pairs) & set(info.data.get("include", []))
        if both:
            raise ValueError(f"{len(both)} pair(s) are in include and in exclude: keep one of the two")
        return pairs


class Accounts(_Rules):
    rollup: Literal["none", "parent"]
    free_mail_domains: Domains
    more_free_mail_domains: Domains
    trusted_domains: Domains
    suspicious_people: int = Field(ge=2)
    ignored_labels: Names
    owner_property: str
    tier_property: str | None
    parent_property: str | None


class Forms(_Rules):
    every_hour_up_to: int = Field(ge=0)
    quiet_days: Annotated[Days, Field(ge=1)]


class Streams(_Rules):
    email_clicks: bool
    meetings: bool
    calls: bool
    marketing_events: bool
    forms: Forms


class Clicks(_Rules):
    burst_links: int = Field(ge=2)
    burst_seconds: Annotated[Seconds, Field(ge=1)]
    after_send_seconds: Seconds
    same_click_seconds: Annotated[Seconds, Field(ge=1)]
    scanner_ip_hashes: Names


class ChannelRule(_Rules):
    channel: str = Field(min_length=1)
    kind: list[TouchKind] | None = None
    medium: list[str] | None = None
    source: list[str] | None = None
    campaign: list[str] | None = None
    referrer: list[str] | None = None
    click_id: list[str] | None = None

    @model_validator(mode="after")
    def _has_a_condition(self) -> ChannelRule:
        if not self.model_fields_set - {"channel"}:
            raise ValueError("needs a condition: kind, source, medium, campaign, referrer or click_id")
        empty = [name for name in self.model_fields_set if getattr(self, name) == []]
        if empty:
            raise ValueError(f"{', '.join(sorted(empty))}: an empty list never holds; leave it out")
        return self


def _told_apart(names: dict[str, list[str]]) -> dict[str, list[str]]:
    owners: dict[str, str] = {}
    if any(not text.strip() for name, variants in names.items() for text in (name, *variants)):
        raise ValueError("a name or spelling is empty")
    for name, variants in names.items():
        for variant in {text.strip().lower() for text in (name, *variants)}:
            if owners.setdefault(variant, name) != name:
                raise ValueError(f"{variant} is a spelling of {owners[variant]} and of {name}: keep one of the two")
    return names


Spellings = Annotated[dict[str, list[str]], AfterValidator(_told_apart)]


class SelfReported(_Rules):
    property: str | None
    channels: dict[str, list[str]]


class Touches(_Rules):
    self_reported: SelfReported
    not_held: dict[Activity, Names]
    told_by: list[ToldBy]
    same_click_hours: Hours
    same_visit_minutes: Minutes
    channels: list[ChannelRule]
    other_channel: str
    sources: Spellings
    mediums: Spellings
    campaigns: Spellings
    campaign_spelling: Literal["joined", "as_told"]


def _model(name: str) -> str:
    if name not in models():
        raise ValueError(f"no such attribution model; there are {', '.join(models())}")
    return name


def _model_or_variant(name: str, info: ValidationInfo) -> str:
    return name if name in info.data.get("variants", {}) else _model(name)


def _known_parameters(model: str, given: Iterable[str]) -> None:
    known = models()[model].parameters
    unknown = sorted(set(given) - known.keys())
    if unknown:
        raise ValueError(f"{model} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}")


Model = Annotated[str, AfterValidator(_model)]
ModelOrVariant = Annotated[str, AfterValidator(_model_or_variant)]
Parameter = Annotated[int, Field(ge=0, le=10_000)]


class Variant(_Rules):
    """An attribution model under another name, with parameters of its own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Parameter]

    of: Model

    @property
    def parameters(self) -> dict[str, int]:
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _known(self) -> Variant:
        _known_parameters(self.of, self.parameters)
        return self


@dataclass(frozen=True)
class ChosenModel:
    """An attribution model in use.

    Attributes:
        name: in attribution.credit: the model's, or the variant's.
        model: how it weighs.
        parameters: all that it has.
    """

    name: str
    model: AttributionModel
    parameters: dict[str, int]


class Attribution(_Rules):
    variants: dict[str, Variant]
    models: Annotated[list[ModelOrVariant], Field(min_length=1)]
    parameters: dict[Model, dict[str, Parameter]]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    outcomes: list[Outcome]
    lookback_days: dict[Milestone | Literal["default"], Days]
    collapse_minutes: Minutes
    same_decision_days: Days
    direct_channels: list[str]

    @property
    def chosen(self) -> list[ChosenModel]:
        """The models in use, in the mapping's order."""
        found = []
        for name in dict.fromkeys(self.models):
            variant = self.variants.get(name)
            model = models()[variant.of if variant else name]
            own = variant.parameters if variant else self.parameters.get(name, {})
            found.append(ChosenModel(name, model, {**model.parameters, **own}))
        return found

    def reading(self, *, answers: bool) -> list[str]:
        """Names of the models in use that share outcomes among answers, or among touches."""
        return [chosen.name for chosen in self.chosen if chosen.model.answers is answers]

    @field_validator("variants")
    @classmethod
    def _new_names(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        taken = sorted(variants.keys() & models().keys())
        if taken:
            raise ValueError(f"{', '.join(taken)}: a model has this name; set its parameters under `parameters`")
        return variants

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, given: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        for name, values in given.items():
            _known_parameters(name, values)
        return given

    @field_validator("lookback_days")
    @classmethod
    def _has_default(cls, days: dict[str, int]) -> dict[str, int]:
        if "default" not in days:
            raise ValueError("needs an entry `default`")
        return days


def _record_id(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,18}", text, re.ASCII):
        raise ValueError("must be the id of a HubSpot record: digits only, such as 151")
    return text


RecordId = Annotated[str, AfterValidator(_record_id)]


class Suppression(_Rules):
    domains: Domains
    addresses: Addresses
    contact_ids: list[RecordId]
    company_ids: list[RecordId]
    deal_ids: list[RecordId]


class Consent(_Rules):
    property: str
    granted: list[str]
    denied: list[str]
    when_absent: Literal["withhold", "send"]


class VolumeGuard(_Rules):
    floor: int = Field(ge=1)
    factor: int = Field(ge=1)
    days: Annotated[Days, Field(ge=1)]


class ConversionDefaults(_Rules):
    settle_minutes: Minutes
    volume_guard: VolumeGuard


class ConversionRule(_Rules):
    milestone: Milestone
    action: str = Field(min_length=1)
    value: Measure | None = None
    once_per: Literal["milestone", "person"] = "milestone"
    subtypes: list[str] = ["new", "expansion"]
    send_from: str | None = None
    settle_minutes: Minutes | None = None
    imported: bool = False

    @field_validator("send_from")
    @classmethod
    def _instant(cls, text: str | None) -> str | None:
        return None if text is None else _send_from(text)


class Destination(_Rules):
    send_from: str
    click_days: Days
    contact_label: str | None = None
    options: dict[str, str]
    conversions: list[ConversionRule]

    @field_validator("send_from")
    @classmethod
    def _instant(cls, text: str) -> str:
        return _send_from(text)


class Rules(_Rules):
    """All business rules, validated."""

    version: str
    properties: PropertyLists
    history: PropertyLists
    extraction: Extraction
    streams: Streams
    lifecycle: Lifecycle
    deals: Deals
    values: Values
    currency: Currency
    churn: Churn
    milestones: Milestones
    identity: Identity
    accounts: Accounts
    clicks: Clicks
    touches: Touches
    attribution: Attribution
    suppression: Suppression
    consent: Consent
    conversions: ConversionDefaults
    destinations: dict[str, Destination]

    def signature(self, *sections: str) -> str:
        """A fingerprint of some sections: when it changes, what was derived from them is derived again."""
        data = self.model_dump(mode="json", include=set(sections))
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _send_from(text: str) -> str:
    if text != "start":
        try:
            parse_instant(text)
        except ValueError:
            raise ValueError("must be start, or a timestamp such as 2026-03-01T00:00:00Z") from None
    return text


def send_from(text: str, start: datetime) -> datetime:
    """The time a `send_from` means."""
    return start if text == "start" else parse_instant(text)


def _note_own_stages(merged: dict[str, Any], own: dict[str, Any]) -> None:
    """Note which deal stages the user's file names: they outrank HubSpot's metadata."""
    deals = own.get("deals")
    if not isinstance(deals, dict):
        return
    if "own_stages" in deals:
        raise ConfigurationError("deals.own_stages: not a setting; stages named under deals.stages are your own")
    stages = deals.get("stages")
    if isinstance(stages, dict) and isinstance(merged.get("deals"), dict):
        merged["deals"] = {**merged["deals"], "own_stages": sorted(str(stage) for stage in stages)}


_EXPECTED = {
    "missing": "is missing",
    "dict_type": "must be a section: lines of `name: value`",
    "model_type": "must be a section: lines of `name: value`",
    "list_type": "must be a list, as in [one, two]",
    "tuple_type": "must be a list, as in [one, two]",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be on or off",
    "bool_parsing": "must be on or off",
    "string_too_short": "must not be empty",
    "extra_forbidden": "there is no such entry",
}


def _said(problem: ErrorDetails) -> str:
    """What is wrong with an entry, in words of the mapping file."""
    message = _EXPECTED.get(problem["type"]) or (
        problem["msg"].removeprefix("Value error, ").replace("Input should be ", "must be ")
    )
    name, given = str(problem["loc"][-1]), problem["input"]
    if problem["type"] == "extra_forbidden":
        return message + _meant(name, _names(problem["loc"][:-1]))
    if problem["type"] == "missing" and len(problem["loc"]) == 3 and problem["loc"][0] == "destinations":
        return message + _meant(str(problem["loc"][1]), _names(problem["loc"][:1]))
    if problem["type"] == "literal_error" and isinstance(given, str):
        return f"{message}, not {given!r}"
    return message


def _names(where: Sequence[int | str]) -> list[str]:
    """The entries of a section of the shipped file; nothing where it has none there."""
    section: Any = layered_yaml.read([SHIPPED]).data
    for part in where:
        section = section.get(part) if isinstance(section, dict) else None
    return list(section) if isinstance(section, dict) else []


def _meant(name: str, names: list[str]) -> str:
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.7)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(names)}" if names else ""


def load(override: Path | None = None) -> Rules:
    """Read the shipped rules with `override` merged deeply over them.

    Raises:
        ConfigurationError: naming file, line, YAML path and problem of every wrong entry.
    """
    merged = layered_yaml.read([path for path in (override, SHIPPED) if path is not None])
    if override is not None:
        _note_own_stages(merged.data, layered_yaml.read([override]).data)
    try:
        return Rules.model_validate(merged.data)
    except ValidationError as error:
        lines = [f"  {merged.located(problem['loc'], _said(problem))}" for problem in error.errors()]
        raise ConfigurationError("the mapping is wrong:\n" + "\n".join(lines)) from None
