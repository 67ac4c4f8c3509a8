"""Section `write_back.identify`: what HubSpot is told of people and companies by files and computed traits."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, field_validator

from crm_attribution.mapping.base import Section

NEVER = frozenset(
    {
        *("email", "domain", "createdate", "lastmodifieddate", "closedate", "hubspot_owner_id", "associatedcompanyid"),
        *("num_associated_contacts", "num_associated_deals", "crm_attribution_domain", "crm_attribution_key"),
    }
)
"""Properties that no input may write, besides all that begin with `hs_`."""

UNIQUE_DOMAIN = "crm_attribution_domain"


def not_to_be_written(name: str) -> bool:
    """Whether a property is HubSpot's own, or names the record itself."""
    return name.startswith("hs_") or name in NEVER


def _writable(name: str) -> str:
    if not_to_be_written(name):
        raise ValueError("is HubSpot's own or names the record itself: name another property")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name):
        raise ValueError("must begin with a letter, of a-z, 0-9 and _")
    return name


Writable = Annotated[str, AfterValidator(_writable)]


class Identify(Section):
    """What files in `inbox/identify` and computed traits say of people and companies.

    Attributes:
        tell: which records are written; memberships where both are.
        create: which are made where HubSpot has none.
        traits: computed traits and audiences that are told, by the name of their file.
        names: key of a file in lower case, words joined by `_` -> property; null: it is left out.
    """

    tell: list[Literal["contacts", "companies"]]
    create: list[Literal["contacts", "companies"]]
    traits: list[str]
    names: dict[Literal["contacts", "companies"], dict[str, Writable | None]]

    @field_validator("tell", "create", "traits")
    @classmethod
    def _once(cls, given: list[str]) -> list[str]:
        if twice := sorted({name for name in given if given.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} stands in it twice")
        return given

    @property
    def actions(self) -> list[str]:
        """The actions of the destination."""
        found = [action for kind in self.tell for action in (kind, f"new_{kind}")]
        return [*found, *(["memberships"] if len(set(self.tell)) == 2 else [])]
