"""HubSpot's object types that are read, one description each: another one is a description here and a contract.

Type ids and names: https://developers.hubspot.com/docs/api/crm/understanding-the-crm
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_attribution.hubspot.texts import blank, hubspot_id, listed, moment, readable
from crm_attribution.money import CURRENCY, to_minor

Texts = Mapping[str, str | None]
"""A record's properties as HubSpot writes them."""

Convert = Callable[[Texts, str | None, list[str]], dict[str, Any]]
"""A record's own columns, from its properties and the account's currency. What cannot be read is null, and its
`property:reason` is added to the list."""


@dataclass(frozen=True)
class ObjectType:
    """An object type.

    Attributes:
        name: in paths and in our tables (`object_type`).
        singular: in subscriptions to webhooks.
        type_id: HubSpot's number of it.
        table: the contract of its records.
        convert: its own columns.
        typed: properties with a column of their own.
        needed: further properties the product reads; kept in the JSON column.
        tracked: properties whose history is read.
        history_cap: how many values of a property HubSpot shows: reported by integrators, not documented.
        associated: types whose associations are read from its side.
        stage_property: the property that holds its stage.
        pipelines: whether its stages are those of pipelines, and not the account's lifecycle stages.
        modified_property: what search filters and sorts by
            (https://developers.hubspot.com/docs/api-reference/search/guide, default columns).
        carries_consent: whether the mapping's `consent` and `identifiers` name properties of it.
    """

    name: str
    singular: str
    type_id: str
    table: str
    convert: Convert = field(repr=False)
    typed: tuple[str, ...]
    needed: tuple[str, ...]
    tracked: tuple[str, ...]
    history_cap: int
    associated: tuple[str, ...]
    stage_property: str = "lifecyclestage"
    pipelines: bool = False
    modified_property: str = "hs_lastmodifieddate"
    carries_consent: bool = False

    @property
    def quarantine(self) -> str:
        """The table of its refused records."""
        return self.table.replace("raw.", "quarantine.")


def _contact(texts: Texts, _home: str | None, problems: list[str]) -> dict[str, Any]:
    company = blank(texts.get("associatedcompanyid"))
    return {
        "email": blank(texts.get("email")),
        "additional_emails": listed(texts.get("hs_additional_emails")),
        "lifecyclestage": blank(texts.get("lifecyclestage")),
        "associatedcompanyid": None
        if company is None
        else readable(lambda: hubspot_id("associatedcompanyid", company), problems),
    }


def _company(texts: Texts, _home: str | None, _problems: list[str]) -> dict[str, Any]:
    return {name: blank(texts.get(name)) for name in ("name", "domain", "lifecyclestage")}


def _deal(texts: Texts, home: str | None, problems: list[str]) -> dict[str, Any]:
    currency, amount = _money(texts, home, problems)
    closed = blank(texts.get("closedate"))
    return {
        "dealname": blank(texts.get("dealname")),
        "pipeline": blank(texts.get("pipeline")),
        "dealstage": blank(texts.get("dealstage")),
        "dealtype": blank(texts.get("dealtype")),
        "currency": currency,
        "amount": amount,
        "closedate": None if closed is None else readable(lambda: moment("closedate", closed), problems),
    }


def _money(texts: Texts, home: str | None, problems: list[str]) -> tuple[str | None, int | None]:
    """Currency, and the amount in its minor units: an amount whose currency cannot be read is none."""
    given, amount = blank(texts.get("deal_currency_code")), blank(texts.get("amount"))
    if given is not None and not re.fullmatch(CURRENCY, given):
        problems.append("deal_currency_code:not_a_currency")
        return None, None
    currency = given or home
    minor = None if amount is None else to_minor(amount, currency or "")
    if minor is None and amount is not None:
        problems.append("amount:not_a_number")
    return currency, minor


CONTACTS = ObjectType(
    name="contacts",
    singular="contact",
    type_id="0-1",
    table="raw.contact",
    convert=_contact,
    typed=("email", "hs_additional_emails", "lifecyclestage", "associatedcompanyid", "hubspot_owner_id"),
    needed=("createdate", "hs_merged_object_ids", "hs_calculated_merged_vids"),
    tracked=("lifecyclestage", "email", "associatedcompanyid", "hubspot_owner_id"),
    history_cap=45,
    associated=("companies",),
    modified_property="lastmodifieddate",
    carries_consent=True,
)
COMPANIES = ObjectType(
    name="companies",
    singular="company",
    type_id="0-2",
    table="raw.company",
    convert=_company,
    typed=("name", "domain", "lifecyclestage", "hubspot_owner_id"),
    needed=("createdate", "hs_merged_object_ids", "hs_additional_domains"),
    tracked=("lifecyclestage", "hubspot_owner_id"),
    history_cap=20,
    associated=("companies",),  # parents and children
)
DEALS = ObjectType(
    name="deals",
    singular="deal",
    type_id="0-3",
    table="raw.deal",
    convert=_deal,
    typed=(
        *("dealname", "pipeline", "dealstage", "dealtype", "deal_currency_code", "amount", "closedate"),
        "hubspot_owner_id",
    ),
    needed=(
        *("createdate", "hs_merged_object_ids", "hs_primary_associated_company"),
        *("hs_is_closed", "hs_is_closed_won", "hs_exchange_rate", "amount_in_home_currency", "closed_lost_reason"),
    ),
    tracked=(
        *("dealstage", "pipeline", "amount", "deal_currency_code", "closedate", "hubspot_owner_id"),
        *("hs_primary_associated_company", "hs_is_closed", "hs_is_closed_won"),
    ),
    history_cap=20,
    associated=("contacts", "companies"),
    stage_property="dealstage",
    pipelines=True,
)

OBJECT_TYPES: dict[str, ObjectType] = {one.name: one for one in (CONTACTS, COMPANIES, DEALS)}
"""Every object type by name."""
