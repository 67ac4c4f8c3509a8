"""How the portal is set up: account, owners, pipeline stages, property definitions."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, Strings, Timestamp, field, table
from crm_attribution.contracts.raw.fields import HUBSPOT_ID, OBJECT_TYPES
from crm_attribution.contracts.topics import ACCOUNT_DETAILS, PIPELINE_STAGE


@table("raw.owner", key=("id",))
class Owner(Model):
    """HubSpot owners, archived ones included."""

    id: str = field("owner id, as in hubspot_owner_id", str_matches=HUBSPOT_ID)
    email: str = field("the user's e-mail", nullable=True)
    first_name: str = field("first name", nullable=True)
    last_name: str = field("last name", nullable=True)
    archived: bool = field("whether the owner is deactivated")


@table("raw.pipeline_stage", key=("object_type", "stage_id"), journal={PIPELINE_STAGE: "stage_id"})
class PipelineStage(Model):
    """Stages of all pipelines. Stage ids are unique in an account.

    https://developers.hubspot.com/docs/api/crm/pipelines
    """

    object_type: str = field("deals", isin=OBJECT_TYPES)
    pipeline_id: str = field("pipeline id; HubSpot's first deal pipeline is `default`")
    pipeline_label: str = field("pipeline label")
    stage_id: str = field("stage id, as in dealstage")
    stage_label: str = field("stage label")
    display_order: int = field("position in the pipeline")
    probability: float = field("win probability, 0.0 to 1.0", nullable=True, ge=0, le=1)
    is_closed: bool = field("whether deals in this stage are closed")
    archived: bool = field("whether the pipeline or stage is archived")


@table("raw.stage_meaning", key=("object_type", "stage_id", "known_from"), journal={PIPELINE_STAGE: "stage_id"})
class StageMeaning(Model):
    """What a stage meant from when on: HubSpot tells only how it is set now, and does not date a change. Journal:
    memory, never rebuilt."""

    object_type: str = field("deals", isin=OBJECT_TYPES)
    stage_id: str = field("stage id, as in dealstage")
    known_from: Timestamp = field("when we first saw it set so, UTC; 1970 for how it was first seen")
    is_closed: bool = field("whether deals in this stage were closed")
    is_won: bool = field("whether they were won: closed with probability 1")


@table("raw.account", key=("portal_id",), journal={ACCOUNT_DETAILS: "portal_id"})
class Account(Model):
    """The HubSpot account itself: one row."""

    portal_id: str = field("HubSpot portal (account) id")
    time_zone: str = field("the account's time zone, IANA name: decides finance months")
    company_currency: str = field("home currency, ISO 4217", nullable=True)
    company_currency_since: Timestamp = field(
        "when we saw the home currency change to this one, UTC; null where it was this one at the first reading",
        nullable=True,
    )
    additional_currencies: Strings = field("further currencies", nullable=True)


@table("raw.property", key=("object_type", "name"))
class Property(Model):
    """The portal's property definitions. https://developers.hubspot.com/docs/api/crm/properties"""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    name: str = field("internal name")
    label: str = field("label in HubSpot's UI", nullable=True)
    type: str = field("string, number, date, datetime, enumeration, bool, …", nullable=True)
    field_type: str = field("HubSpot's fieldType", nullable=True)
    options: Strings = field("internal values that it may have; null where it has no list of them", nullable=True)
    archived: bool = field("whether the property is archived, or has gone from the portal's list")


@table("raw.property_drift", key=("object_type", "name", "change", "noticed_at"))
class PropertyDrift(Model):
    """Changes of property definitions since the first reading: a journal for people."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    name: str = field("internal name")
    change: str = field("what changed", isin=["added", "removed", "renamed", "retyped", "returned"])
    before: str = field("label or type before", nullable=True)
    after: str = field("label or type now", nullable=True)
    noticed_at: Timestamp = field("when we saw it, UTC")
