"""Section `touches`: what makes a touch, its channel, and the spellings of its source, medium and campaign."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from crm_attribution.mapping.base import Hours, Minutes, Names, Section

ToldBy = Literal["ad_click", "latest_source", "original_source"]
Activity = Literal["meeting", "call", "marketing_event"]
TouchKind = Annotated[
    Literal["link_click", "email_click", "form_submission", "offline_touch"] | Activity | ToldBy,
    BeforeValidator(lambda given: given.lower() if isinstance(given, str) else given),
]


class ChannelRule(Section):
    """A channel and the conditions that must all hold for it."""

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


class SelfReported(Section):
    """The contact property with the answer, and which answers mean which channel."""

    property: str | None
    channels: dict[str, list[str]]


class Touches(Section):
    """What makes a touch, its channel, and the spelling of its source, medium and campaign."""

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
