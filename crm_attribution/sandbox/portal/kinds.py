"""The object types of the sandbox and what HubSpot says about each.

Type ids: https://developers.hubspot.com/docs/api/crm/understanding-the-crm. Default properties and the name of the
modified property: https://developers.hubspot.com/docs/api-reference/search/guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STAGES = (
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
)
DATE_PREFIXES = ("hs_v2_date_entered_", "hs_v2_date_exited_", "hs_date_entered_")


def _typed(**groups: str) -> dict[str, str]:
    """`string="a b", number="c"` as {"a": "string", "b": "string", "c": "number"}."""
    return {name: kind for kind, names in groups.items() for name in names.split()}


@dataclass(frozen=True)
class Kind:
    """One object type.

    Attributes:
        history_cap: values kept per property; reported by integrators, not documented by HubSpot.
        types: the properties an account has from the start, each with HubSpot's property type.
    """

    name: str
    singular: str
    type_id: str
    modified_property: str
    history_cap: int
    default_properties: tuple[str, ...]
    types: Mapping[str, str] = field(repr=False)

    def type_of(self, name: str) -> str:
        """HubSpot's type of a property: string, number, enumeration, bool, date or datetime."""
        known = self.types.get(name)
        if known:
            return known
        if name.startswith(DATE_PREFIXES) or (name.startswith("hs_lifecyclestage_") and name.endswith("_date")):
            return "datetime"
        return "string"


_STAGE_DATES = " ".join([f"hs_v2_date_entered_{s} hs_lifecyclestage_{s}_date" for s in STAGES])

CONTACTS = Kind(
    "contacts",
    "contact",
    "0-1",
    "lastmodifieddate",
    45,
    ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    _typed(
        string="email firstname lastname phone mobilephone company jobtitle website city state zip country address "
        "hs_additional_emails hs_calculated_merged_vids hs_google_click_id hs_facebook_click_id "
        "hs_analytics_source_data_1 hs_analytics_source_data_2 hs_analytics_first_url hs_analytics_first_referrer "
        "hs_latest_source_data_1 hs_latest_source_data_2 hs_email_domain hs_country_region_code",
        enumeration="lifecyclestage hs_lead_status hubspot_owner_id hs_analytics_source hs_latest_source "
        "hs_merged_object_ids hs_legal_basis hs_marketable_status",
        number="hs_object_id associatedcompanyid",
        bool="hs_email_optout",
        datetime=f"createdate lastmodifieddate hs_latest_source_timestamp hs_analytics_first_timestamp {_STAGE_DATES}",
    ),
)
COMPANIES = Kind(
    "companies",
    "company",
    "0-2",
    "hs_lastmodifieddate",
    20,
    ("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
    _typed(
        string="name domain hs_additional_domains website phone city state zip country address description",
        enumeration="lifecyclestage industry hubspot_owner_id hs_merged_object_ids type hs_ideal_customer_profile",
        number="hs_object_id numberofemployees annualrevenue hs_parent_company_id",
        bool="hs_is_target_account",
        datetime=f"createdate hs_lastmodifieddate {_STAGE_DATES}",
    ),
)
DEALS = Kind(
    "deals",
    "deal",
    "0-3",
    "hs_lastmodifieddate",
    20,
    ("amount", "closedate", "createdate", "dealname", "dealstage", "hs_lastmodifieddate", "hs_object_id", "pipeline"),
    _typed(
        string="dealname description hs_priority hs_next_step",
        enumeration="dealstage pipeline dealtype hubspot_owner_id deal_currency_code hs_merged_object_ids "
        "closed_lost_reason closed_won_reason hs_analytics_source",
        number="hs_object_id amount amount_in_home_currency hs_exchange_rate hs_mrr hs_arr hs_acv hs_tcv "
        "hs_projected_amount hs_closed_amount hs_deal_stage_probability hs_primary_associated_company",
        bool="hs_is_closed hs_is_closed_won",
        datetime="createdate hs_lastmodifieddate closedate",
    ),
)

MEETINGS = Kind(
    "meetings",
    "meeting",
    "0-47",
    "hs_lastmodifieddate",
    20,
    ("createdate", "hs_lastmodifieddate", "hs_object_id"),
    _typed(
        string="hs_meeting_title hs_meeting_body",
        enumeration="hs_meeting_outcome hubspot_owner_id",
        number="hs_object_id",
        datetime="createdate hs_lastmodifieddate hs_timestamp hs_meeting_start_time hs_meeting_end_time",
    ),
)
CALLS = Kind(
    "calls",
    "call",
    "0-48",
    "hs_lastmodifieddate",
    20,
    ("createdate", "hs_lastmodifieddate", "hs_object_id"),
    _typed(
        string="hs_call_title hs_call_body",
        enumeration="hs_call_status hs_call_direction hubspot_owner_id",
        number="hs_object_id hs_call_duration",
        datetime="createdate hs_lastmodifieddate hs_timestamp",
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (CONTACTS, COMPANIES, DEALS, MEETINGS, CALLS)}
_SPELLINGS = {spelling: kind for kind in KINDS.values() for spelling in (kind.name, kind.singular, kind.type_id)}


def find_kind(spelling: str) -> Kind | None:
    """The type named `contacts`, `contact` or `0-1`, however it is capitalised."""
    return _SPELLINGS.get(spelling.lower())
