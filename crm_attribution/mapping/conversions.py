"""Sections of uploads: `consent`, `conversions` and `destinations`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator

from crm_attribution.clock import parse_instant
from crm_attribution.mapping.base import Days, Minutes, Section
from crm_attribution.mapping.events import Measure, Milestone

Property = Annotated[str, Field(pattern=r"^[^\s\"'\\]+$")]
"""HubSpot's internal name of a property."""


class Identifiers(Section):
    """The properties a person is recognised by, each list in the order of preference: the first that has a value."""

    phone: list[Property]
    first_name: list[Property]
    last_name: list[Property]
    country: list[Property]
    account_country: list[Property]
    lead_id: list[Property]

    @property
    def of_contact(self) -> list[str]:
        """Every contact property it names."""
        return [*self.phone, *self.first_name, *self.last_name, *self.country, *self.lead_id]


class Consent(Section):
    """The contact properties with consent to advertising, and what their values mean: a denial in any of them wins."""

    properties: list[Property] = Field(min_length=1)
    granted: list[str]
    denied: list[str]
    when_absent: Literal["withhold", "send"]


class VolumeGuard(Section):
    """An hour with more than max(floor, factor x the busiest hour of `days` days) is held."""

    floor: int = Field(ge=1)
    factor: int = Field(ge=1)
    days: Annotated[Days, Field(ge=1)]


class ConversionDefaults(Section):
    """Settling time in minutes and the volume guard of every destination."""

    settle_minutes: Minutes
    volume_guard: VolumeGuard


class ConversionRule(Section):
    """Which milestone is which action of a platform's account, with which value."""

    milestone: Milestone
    action: str = Field(min_length=1)
    account: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")] | None = None
    value: Measure | None = None
    once_per: Literal["milestone", "person"] = "milestone"
    subtypes: list[str] = ["new", "expansion"]
    send_from: str | None = None
    settle_minutes: Minutes | None = None
    imported: bool = False
    browser_event_id: Property | None = None

    @field_validator("send_from")
    @classmethod
    def _instant(cls, text: str | None) -> str | None:
        return None if text is None else send_from_text(text)


class Destination(Section):
    """Since when a platform gets conversions, how many days a click may lie back, and its conversion rules.

    A rule without `account` is for the account of the destination's own settings, whose name is empty here.
    """

    send_from: str
    click_days: Days
    contact_label: str | None = None
    options: dict[str, str]
    conversions: list[ConversionRule]

    @field_validator("send_from")
    @classmethod
    def _instant(cls, text: str) -> str:
        return send_from_text(text)

    @property
    def accounts(self) -> list[str]:
        """The accounts that its rules name, each once: that of the destination's own settings first, if any does."""
        return sorted({rule.account or "" for rule in self.conversions})

    def told_by_browser(self, milestone: str, action: str) -> str | None:
        """The contact property with the browser's id of an event: of the rule of a milestone, else of the action, whose
        milestone may have been renamed."""
        named = [one for one in self.conversions if one.action == action and one.browser_event_id is not None]
        exact = [one for one in named if one.milestone == milestone]
        return next((one.browser_event_id for one in (*exact, *named)), None)

    def of_account(self, name: str) -> Destination:
        """The section with the rules of one account only."""
        return self.model_copy(update={"conversions": [one for one in self.conversions if (one.account or "") == name]})


def send_from_text(text: str) -> str:
    """Check a `send_from` of the mapping.

    Raises:
        ValueError: for what is neither `start` nor a time.
    """
    if text != "start":
        try:
            parse_instant(text)
        except ValueError:
            raise ValueError("must be start, or a timestamp such as 2026-03-01T00:00:00Z") from None
    return text


def send_from(text: str, start: datetime) -> datetime:
    """The time a `send_from` means."""
    return start if text == "start" else parse_instant(text)
