"""Section `write_back`: what HubSpot is told of touches it does not know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from crm_attribution.destinations import destinations
from crm_attribution.mapping.base import Days, Section
from crm_attribution.mapping.conversions import Property, send_from_text
from crm_attribution.mapping.inputs import UNIQUE_DOMAIN, Identify
from crm_attribution.mapping.stages import Stages
from crm_attribution.mapping.texts import Text, internal

TOLD_KINDS = ("link_click", "offline_touch")
"""Touches that HubSpot does not report itself. What it reported is never told back to it."""

RECORDS = ("contacts", "deals")
HUBSPOTS = frozenset(
    {
        *("email", "firstname", "lastname", "phone", "mobilephone", "company", "website", "lifecyclestage", "domain"),
        *("createdate", "lastmodifieddate", "closedate", "amount", "dealname", "dealstage", "pipeline", "dealtype"),
        *("hubspot_owner_id", "associatedcompanyid", "deal_currency_code"),
    }
)
"""Properties that HubSpot or its users fill, besides all that begin with `hs_`: first and last touch among them."""

MOST_BATCH = 500
_QUALIFIED = re.compile(r"pe\d+_")


def _event(name: str) -> str:
    """https://developers.hubspot.com/docs/api/events/custom-events"""
    if _QUALIFIED.match(name):
        raise ValueError("leave pe…_ out: the prefix with the account's id is put before it")
    return internal(name)


EventName = Annotated[str, AfterValidator(_event)]
Texts = dict[EventName, Text | None]
"""Property of the event -> its text; null takes a default one away."""


class Condition(Section):
    """What a touch must be. Every list that is given must have a match; `*` stands for anything, case is ignored."""

    tags: list[str] | None = None
    links: list[str] | None = None
    channels: list[str] | None = None
    sources: list[str] | None = None
    mediums: list[str] | None = None
    campaigns: list[str] | None = None
    events: list[str] | None = None

    @model_validator(mode="after")
    def _holds_sometimes(self) -> Condition:
        empty = sorted(name for name in self.model_fields_set if not getattr(self, name))
        if empty:
            raise ValueError(f"{', '.join(empty)}: an empty list never holds; leave it out")
        return self


class EventRule(Section):
    """Which touches are which event. The first rule that holds is the touch's.

    Attributes:
        on: the kind of touch; `*`: each of them, under its own name where no `event` is given. track: what a file says
            that a person did, which needs an `event`. audience_entered, audience_exited: of computed audiences.
        event: the event's name, without HubSpot's prefix.
        properties: above those of `events`.
        consent: whether the person's consent must be granted, as for an advertisement.
        skip: touches that are no event.
    """

    on: Literal["link_click", "offline_touch", "track", "audience_entered", "audience_exited", "*"]
    condition: Condition = Condition()
    event: EventName | None = None
    properties: Texts = {}
    consent: Literal["any", "granted"] = "any"
    skip: bool = False
    send_from: str | None = None

    @field_validator("send_from")
    @classmethod
    def _instant(cls, text: str | None) -> str | None:
        return None if text is None else send_from_text(text)

    @model_validator(mode="after")
    def _has_a_name(self) -> EventRule:
        if self.on == "track" and self.event is None and not self.skip:
            raise ValueError("on: track needs `event`, the name in HubSpot; condition: {events: [...]} says which rows")
        if self.skip and self.event is not None:
            raise ValueError("skip: true makes no event: leave `event` out, or `skip`")
        return self

    def names(self) -> Iterator[tuple[str, str]]:
        """Kind of touch and name of its event."""
        for kind in TOLD_KINDS if self.on == "*" else (self.on,):
            yield kind, self.event or kind


class Matching(Section):
    """The custom matching id of the event definitions: the event's property that carries the contact's."""

    event_property: EventName
    contact_property: Property


class Events(Section):
    """Touches as custom events of HubSpot, or as notes where the account has none (below Enterprise)."""

    told_as: Literal["event", "note"]
    batch: Annotated[int, Field(ge=1)]
    contact_by: Literal["object_id", "email", "matching_id"]
    matching: Matching | None
    properties: Texts
    note: Text
    rules: list[EventRule]

    @field_validator("batch")
    @classmethod
    def _taken(cls, batch: int) -> int:
        if batch > MOST_BATCH:
            raise ValueError(f"HubSpot takes at most {MOST_BATCH} events in a request")
        return batch

    @model_validator(mode="after")
    def _can_match(self) -> Events:
        if self.contact_by == "matching_id" and self.matching is None:
            raise ValueError("contact_by: matching_id needs `matching: {event_property: …, contact_property: …}`")
        return self

    def texts(self, rule: EventRule) -> dict[str, str]:
        """The properties of a rule's events over the default ones."""
        merged: dict[str, str | None] = {**self.properties, **rule.properties}
        return {name: text for name, text in merged.items() if text is not None}

    @property
    def names(self) -> list[str]:
        """Every event that a rule names, each once."""
        return list(dict.fromkeys(name for rule in self.rules if not rule.skip for _, name in rule.names()))


def _ours(name: str) -> str:
    if name.startswith("hs_") or name in HUBSPOTS:
        raise ValueError("is HubSpot's own and is not overwritten: name a property of yours")
    return internal(name)


class Value(Section):
    """The text of a property, and its type where HubSpot has to make it."""

    text: Text
    type: Literal["string", "number", "date", "datetime", "enumeration"] = "string"
    options: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        return {"text": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _has_options(self) -> Value:
        if (self.type == "enumeration") != bool(self.options):
            raise ValueError("type: enumeration needs `options`, the values it may have; no other type has them")
        return self


Map = dict[Annotated[str, AfterValidator(_ours)], Value]
"""Property of HubSpot -> what it is given."""


class Properties(Section):
    """What contacts and deals are given by their newest touch; `clicks` are counted in so many days up to it."""

    days: Annotated[Days, Field(ge=1)]
    contacts: Map
    deals: Map

    def of(self, object_type: str) -> dict[str, Value]:
        """The map of contacts or deals."""
        return self.contacts if object_type == "contacts" else self.deals


class WriteBack(Section):
    """What HubSpot is told; nothing without CRM_ATTRIBUTION_WRITE_BACK=on."""

    send_from: str
    events: Events
    properties: Properties
    stages: Stages
    identify: Identify

    @field_validator("send_from")
    @classmethod
    def _instant(cls, text: str) -> str:
        return send_from_text(text)

    def named(self, destination: str) -> list[tuple[str, str]]:
        """What a destination is told of, and as what: kind of touch and name, each once."""
        known = destinations().get(destination)
        if known is not None and known.plans_from == "thresholds":
            return [("stage", rule.action) for rule in self.stages.rules]
        if known is not None and known.plans_from == "inputs":
            return [(action, action) for action in self.identify.actions]
        if known is not None and known.plans_from == "records":
            return [(kind, kind) for kind in RECORDS if self.properties.of(kind)]
        if known is None or known.told_as != self.events.told_as:
            return []
        return list(dict.fromkeys(pair for rule in self.events.rules if not rule.skip for pair in rule.names()))

    def options(self) -> dict[str, str]:
        """For `Destination.build`."""
        given: dict[str, str] = {"contact_by": self.events.contact_by}
        if (matching := self.events.matching) is not None:
            given |= {"matching": matching.event_property, "matching_contact": matching.contact_property}
        for rule in self.stages.rules:
            given[f"stage {rule.action}"] = json.dumps([rule.pipeline, rule.from_stage, rule.to_stage, *rule.requires])
        return given

    def wanted(self, destination: str) -> dict[str, dict[str, str]]:
        """What must exist in HubSpot for a destination: name -> its properties, with their types. Options of an
        enumeration stand behind it: `enumeration:a;b`."""
        if destinations()[destination].plans_from == "inputs":
            return {"companies": {UNIQUE_DOMAIN: "unique"}} if "companies" in self.identify.tell else {}
        if (kinds := self.named(destination)) and kinds[0][0] == "stage":
            return {}
        if kinds and kinds[0][0] in RECORDS:
            return {kind: {name: _typed(one) for name, one in self.properties.of(kind).items()} for kind, _ in kinds}
        events, found = self.events, dict[str, list[str]]()
        for rule in events.rules:
            for pair in rule.names():
                if pair in self.named(destination) and not rule.skip:
                    found.setdefault(pair[1], []).extend(events.texts(rule))
        matching = [events.matching.event_property] if events.matching else []
        return {name: dict.fromkeys([*listed, *matching], "string") for name, listed in found.items()}


def _typed(value: Value) -> str:
    return f"enumeration:{';'.join(value.options)}" if value.type == "enumeration" else value.type
