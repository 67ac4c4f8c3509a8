"""What was and is between records: property history, associations and merges."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, Strings, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.raw.fields import OBJECT_TYPES
from crm_attribution.contracts.topics import RECORDS, By


@table(
    "raw.property_history",
    key=("object_type", "object_id", "property", "timestamp", "ordinal"),
    journal={By("object_type", RECORDS): "object_id"},
)
class PropertyHistory(Model):
    """Every value a tracked property has had. Append-only: HubSpot caps what it still shows.

    https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/basic
    """

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    object_id: int = hubspot_id("id of the record HubSpot gave it for")
    property: str = field("internal property name")
    timestamp: Timestamp = field("when HubSpot recorded the value, UTC")
    value: str = field("the value; null where it was cleared", nullable=True)
    ordinal: int = field("place among values of one timestamp, 0 is the oldest", ge=0)
    source_type: str = field("HubSpot's sourceType (FORM, CRM_UI, IMPORT, …)", nullable=True)
    source_id: str = field("HubSpot's sourceId", nullable=True)
    history_truncated: bool = field("HubSpot's cap was reached: older values may be missing")
    extracted_at: Timestamp = field("when we first read it, UTC", log=True)


@table(
    "raw.association",
    key=("from_type", "from_id", "to_type", "to_id", "valid_from"),
    journal={By("from_type", RECORDS): "from_id"},
)
class Association(Model):
    """Associations with labels and primary flag. The dates are when we learned of it, not HubSpot's."""

    from_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    from_id: int = hubspot_id("record id")
    to_type: str = field("contacts or companies", isin=OBJECT_TYPES)
    to_id: int = hubspot_id("record id")
    type_ids: Strings = field("HubSpot association type ids")
    labels: Strings = field("labels, without the unlabeled type")
    is_primary: bool = field("whether one of the types is HubSpot's primary type")
    position: int = field("place in HubSpot's answer, 0 first", ge=0)
    valid_from: Timestamp = field("when we first saw it, UTC; 1970 where it came with the record's first read")
    valid_to: Timestamp = field("when it was gone, UTC; null while it holds", nullable=True)


@table(
    "raw.merge",
    key=("object_type", "absorbed_id"),
    journal={By("object_type", RECORDS): ["absorbed_id", "survivor_id"]},
)
class Merge(Model):
    """Which record absorbed which, as far as HubSpot's records show."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    absorbed_id: int = hubspot_id("the id that is no longer a record")
    survivor_id: int = hubspot_id("the record that holds it now")
    merged_at: Timestamp = field("when HubSpot merged them, UTC; null where unknown", nullable=True)
    source: str = field("where we learned of it: hs_merged_object_ids, hs_calculated_merged_vids, webhook, lookup")
