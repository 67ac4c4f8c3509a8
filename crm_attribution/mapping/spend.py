"""Section `spend`: which campaign of the touches the ads of a platform's campaign lead to."""

from __future__ import annotations

from string import Formatter
from typing import Annotated

from pydantic import Field, model_validator

from crm_attribution.mapping.base import Names, Section

FIELDS = ("platform", "ad_account", "campaign_id", "campaign_name")
Patterns = Annotated[Names, Field(min_length=1)]
"""Compared in lower case, `*` stands for anything."""


class UtmRule(Section):
    """Spend for which every given condition holds is that of the utm_campaign."""

    platform: Patterns | None = None
    ad_account: Patterns | None = None
    campaign_id: Patterns | None = None
    campaign_name: Patterns | None = None
    utm_campaign: str = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_filled(self) -> UtmRule:
        if not self.model_fields_set & set(FIELDS):
            raise ValueError(f"needs a condition: {', '.join(FIELDS)}")
        stars = min((pattern.count("*") for pattern in self.campaign_name or [""]), default=0)
        known = {"campaign_id", "campaign_name", *map(str, range(1, stars + 1))}
        try:
            named = [name for _, name, form, turn in Formatter().parse(self.utm_campaign) if name is not None]
        except ValueError:
            raise ValueError(f"utm_campaign: a brace is open in {self.utm_campaign!r}") from None
        unknown = sorted(set(named) - known)
        if unknown:
            raise ValueError(
                f"utm_campaign: {{{unknown[0]}}} is none of {{campaign_id}}, {{campaign_name}}, and {{1}}, {{2}} …"
                " for what the first, second … * of campaign_name stands for"
            )
        return self


class Spend(Section):
    """Rules from a platform's campaign to a utm_campaign, and the gross margin of recurring revenue."""

    utm_rules: list[UtmRule]
    gross_margin_percent: Annotated[int, Field(ge=1, le=100)] | None
