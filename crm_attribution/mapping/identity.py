"""Sections of identity: `identity`, `accounts` and `clicks`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from crm_attribution.mapping.base import Days, Domains, Hours, Names, Seconds, Section

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


class Identity(Section):
    """Must-link (`include`) and cannot-link (`exclude`) pairs, identifiers that join nobody, limits, click windows."""

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


class Accounts(Section):
    """Parents, free-mail domains, and the properties an account is made of."""

    rollup: Literal["none", "parent"]
    free_mail_domains: Domains
    more_free_mail_domains: Domains
    trusted_domains: Domains
    suspicious_people: int = Field(ge=2)
    ignored_labels: Names
    owner_property: str
    tier_property: str | None
    parent_property: str | None


class Clicks(Section):
    """When clicks in e-mails are bot clicks, in links and seconds."""

    burst_links: int = Field(ge=2)
    burst_seconds: Annotated[Seconds, Field(ge=1)]
    after_send_seconds: Seconds
    same_click_seconds: Annotated[Seconds, Field(ge=1)]
    scanner_ip_hashes: Names
