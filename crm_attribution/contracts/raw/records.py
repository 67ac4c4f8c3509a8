"""Contacts, companies and deals as they are now."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, RecordIds, Strings, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.raw.fields import COMPARED, EMAIL
from crm_attribution.contracts.topics import COMPANIES, CONTACTS, DEALS
from crm_attribution.money import CURRENCY


class _Record(Model):
    id: int = hubspot_id("HubSpot record id, unique within its object type")
    properties: str = field(
        "all copied properties as HubSpot gave them, JSON object of strings", nullable=True, json=True
    )
    created_at: Timestamp = field("when HubSpot created the record, UTC")
    modified_at: Timestamp = field(
        "HubSpot's modified stamp (lastmodifieddate, hs_lastmodifieddate) at extraction, UTC"
    )
    archived: bool = field("whether HubSpot has archived the record")
    merged_ids: RecordIds = field("ids absorbed into this record (hs_merged_object_ids)", nullable=True)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.contact", key=("id",), journal={CONTACTS: "id"})
class Contact(_Record):
    """Current record of each HubSpot contact. Holds personal data."""

    email: str = field("primary e-mail as HubSpot stores it", nullable=True, str_matches=EMAIL)
    email_normalised: str = field(COMPARED, nullable=True, email_of="email")
    additional_emails: Strings = field("further e-mails (hs_additional_emails)", nullable=True)
    additional_emails_normalised: Strings = field(
        COMPARED.replace("email", "additional_emails", 1), nullable=True, email_of="additional_emails"
    )
    lifecyclestage: str = field("current lifecycle stage, HubSpot's internal value", nullable=True)
    associatedcompanyid: int = hubspot_id("primary associated company", nullable=True)
    hubspot_owner_id: str = field("owner id", nullable=True)


@table("raw.company", key=("id",), journal={COMPANIES: "id"})
class Company(_Record):
    """Current record of each HubSpot company."""

    name: str = field("company name", nullable=True)
    domain: str = field("primary web domain; HubSpot does not enforce uniqueness", nullable=True)
    lifecyclestage: str = field("current lifecycle stage, HubSpot's internal value", nullable=True)
    hubspot_owner_id: str = field("owner id", nullable=True)


@table("raw.deal", key=("id",), journal={DEALS: "id"})
class Deal(_Record):
    """Current record of each HubSpot deal."""

    dealname: str = field("deal name", nullable=True)
    pipeline: str = field("pipeline id", nullable=True)
    dealstage: str = field("stage id", nullable=True)
    dealtype: str = field("newbusiness, existingbusiness or the portal's own", nullable=True)
    currency: str = field(
        "ISO 4217 code of the deal (deal_currency_code, else the account's currency)",
        nullable=True,
        str_matches=CURRENCY,
    )
    amount: int = field("amount in minor units of `currency`", nullable=True)
    closedate: Timestamp = field("close date, UTC; an estimate while the deal is open", nullable=True)
    hubspot_owner_id: str = field("owner id", nullable=True)
