"""Sections of extraction: `properties`, `history`, `extraction` and `streams`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.mapping.base import Days, Section


def _of_object_types(lists: dict[str, list[str]]) -> dict[str, list[str]]:
    unknown, missing = sorted(lists.keys() - OBJECT_TYPES.keys()), sorted(OBJECT_TYPES.keys() - lists.keys())
    if unknown or missing:
        wrong = [*(f"{name} is no object type" for name in unknown), *(f"{name} is missing" for name in missing)]
        raise ValueError(f"{'; '.join(wrong)}; there are {', '.join(OBJECT_TYPES)}")
    return lists


PropertyLists = Annotated[dict[str, list[str]], AfterValidator(_of_object_types)]
"""Names of properties for each object type of `hubspot/objects.py`."""


class Extraction(Section):
    """Limits of calls, per object type and run: thousands of records, single calls, pages of 100."""

    association_calls: int = Field(ge=0)
    lookup_calls: int = Field(ge=0)
    reconcile_calls: int = Field(ge=0)


class Forms(Section):
    """How many forms are read every hour, and after how many quiet days the others are read daily."""

    every_hour_up_to: int = Field(ge=0)
    quiet_days: Annotated[Days, Field(ge=1)]


class Streams(Section):
    """What is read besides records; each can be off."""

    email_clicks: bool
    meetings: bool
    calls: bool
    marketing_events: bool
    campaigns: bool
    campaign_revenue: bool
    forms: Forms

    @model_validator(mode="after")
    def _revenue_of_campaigns(self) -> Streams:
        if self.campaign_revenue and not self.campaigns:
            raise ValueError("campaign_revenue is on and campaigns is off: switch both on")
        return self
