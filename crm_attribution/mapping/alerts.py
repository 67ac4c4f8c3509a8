"""Section `alerts`: which events are told to which webhook, and in which words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from crm_attribution.mapping.base import Hours, Section
from crm_attribution.mapping.stages import Name
from crm_attribution.mapping.texts import checked

URL = "ALERT_WEBHOOK_URL"
"""The setting with the address; of a further route its name comes after it: `ALERT_WEBHOOK_URL__SALES`."""

_COMMON = ("occurred_at", "rule")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "event": (
        *("event", "object_type", "object_id", "began", "source", "owner_id", "mapping_version"),
        *("stage", "stage_label", "from_stage", "from_stage_label", "pipeline", "pipeline_label"),
        *("deal_name", "company_name", "company_domain", "amount", "currency", *_COMMON),
    ),
    "webhook": (
        *("subscription_type", "object_type", "object_id", "property_name", "property_value", "change_source"),
        *("received_from", "deal_name", "stage_label", "pipeline_label", *_COMMON),
    ),
    "delivery": ("destination", "state", "reason", "count", *_COMMON),
    "restatement": (
        *("month", "milestone", "model", "scope", "measure", "currency", "old", "new", "delta", "figures", "cause"),
        *_COMMON,
    ),
    "silence": ("hours", "since", "changes", *_COMMON),
}
"""What there is of each kind of news, for filters and templates."""

CHANGES: Mapping[str, tuple[str, ...] | None] = {"event": ("stage", "amount"), "webhook": None}
"""What `changed` may name; None: any property of HubSpot."""

STAGE = "stage"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
Kind = Literal["event", "webhook", "delivery", "restatement", "silence"]


class Filter(Section):
    """A condition: one field with `equals`, `starts_with` or `in`; `changed`; or several joined by `and` or `or`. Text
    is compared as it is; a field that is empty meets no condition."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    all_: Annotated[list[Filter], Field(min_length=1)] | None = Field(default=None, alias="and")
    any_: Annotated[list[Filter], Field(min_length=1)] | None = Field(default=None, alias="or")
    changed: str | None = None
    field: str | None = None
    equals: str | None = None
    starts_with: str | None = None
    in_: Annotated[list[str], Field(min_length=1)] | None = Field(default=None, alias="in")

    @field_validator("equals", "starts_with", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int) and not isinstance(given, bool) else given

    @model_validator(mode="after")
    def _one(self) -> Filter:
        tests = [name for name in ("equals", "starts_with", "in_") if getattr(self, name) is not None]
        whole = [name for name in ("all_", "any_", "changed", "field") if getattr(self, name) is not None]
        if len(whole) != 1 or len(tests) != (self.field is not None):
            raise ValueError(
                "write {field: …, equals: …} (or starts_with, in), {changed: …}, {and: [...]} or {or: [...]}"
            )
        return self

    def parts(self) -> Iterator[Filter]:
        """The conditions that look at something themselves."""
        inner = [*(self.all_ or ()), *(self.any_ or ())]
        if not inner:
            yield self
        for one in inner:
            yield from one.parts()

    def holds(self, news: Mapping[str, str], changed: frozenset[str]) -> bool:
        """Whether news meets it.

        Args:
            news: values of `FIELDS`, empty ones left out.
            changed: what has changed.
        """
        if self.all_ is not None:
            return all(one.holds(news, changed) for one in self.all_)
        if self.any_ is not None:
            return any(one.holds(news, changed) for one in self.any_)
        if self.changed is not None:
            return self.changed in changed
        value = news.get(str(self.field))
        if value is None:
            return False
        if self.equals is not None:
            return value == self.equals
        if self.starts_with is not None:
            return value.startswith(self.starts_with)
        return value in (self.in_ or ())


class Template(Section):
    """The words of an alert; `color` is a colour as #2eb67d, or `stage`: that of the stage."""

    title: Annotated[str, Field(min_length=1)]
    text: str = ""
    color: str = "#8c8c8c"

    @field_validator("color")
    @classmethod
    def _colour(cls, given: str) -> str:
        return _colour(given)


def _setting(given: str) -> str:
    if not re.fullmatch(rf"{URL}(__[A-Z0-9]+(_[A-Z0-9]+)*)?", given):
        raise ValueError(
            f"name the setting that holds the address, {URL} or {URL}__SALES; the address itself is a secret and stays"
            " out of the mapping"
        )
    return given


class AlertRule(Section):
    """Which news is told where.

    Attributes:
        on: the kind of news. event: what HubSpot's history says (`events.event`); webhook: what HubSpot or a workflow
            posts; delivery: what destinations refused; restatement: a closed month that has changed; silence: no
            webhooks, though search finds changes.
        to: the name of the setting with the address.
        template: one of `templates`.
    """

    name: Name
    on: Kind
    to: Annotated[str, AfterValidator(_setting)]
    template: str
    filter: Filter | None = None

    @property
    def account(self) -> str:
        """The route, as accounts of destinations are called; empty for the first."""
        return self.to.removeprefix(URL).removeprefix("__").lower()


class Alerts(Section):
    """Alerts; none as shipped.

    Attributes:
        silent_hours: hours without a webhook after which their silence is news.
        stage_colors: stage id -> colour; of the others by how likely they are to be won.
    """

    silent_hours: Annotated[Hours, Field(ge=1)]
    stage_colors: dict[str, str]
    templates: dict[str, Template]
    rules: list[AlertRule]

    @field_validator("stage_colors")
    @classmethod
    def _colours(cls, given: dict[str, str]) -> dict[str, str]:
        return {stage: _colour(one) for stage, one in given.items() if one != STAGE}

    @model_validator(mode="after")
    def _known(self) -> Alerts:
        names = [rule.name for rule in self.rules]
        for rule in self.rules:
            if names.count(rule.name) > 1:
                raise ValueError(f"{rule.name}: a name is of one rule only; the ledger knows it by its name")
            if rule.template not in self.templates:
                raise ValueError(f"{rule.name}: there is no template {rule.template}; there are "
                                 + ", ".join(self.templates))  # fmt: skip
            template, fields = self.templates[rule.template], FIELDS[rule.on]
            for text in (template.title, template.text):
                try:
                    checked(text, fields)
                except ValueError as error:
                    raise ValueError(f"{rule.name}, template {rule.template}: {error}") from None
            for part in rule.filter.parts() if rule.filter else ():
                _look_up(rule, part)
        return self

    @property
    def accounts(self) -> list[str]:
        """The routes that rules name."""
        return list(dict.fromkeys(rule.account for rule in self.rules))


def _look_up(rule: AlertRule, part: Filter) -> None:
    if part.field is not None and part.field not in FIELDS[rule.on]:
        raise ValueError(f"{rule.name}: {rule.on} has no field {part.field}; it has {', '.join(FIELDS[rule.on])}")
    if part.changed is not None:
        known = CHANGES.get(rule.on, ())
        if known is not None and part.changed not in known:
            listed = ", ".join(known) or "nothing"
            raise ValueError(f"{rule.name}: of {rule.on} it is not told whether {part.changed} changed; {listed} is")


def _colour(given: str) -> str:
    if given != STAGE and not _COLOUR.fullmatch(given):
        raise ValueError(f"{given}: no colour, as #2eb67d")
    return given
