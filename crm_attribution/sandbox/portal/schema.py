"""Pipelines, owners, property definitions and account details, in HubSpot's shapes.

Pipelines: https://developers.hubspot.com/docs/api/crm/pipelines (metadata is text, also where it means a number or a
truth value). Owners: https://developers.hubspot.com/docs/api/crm/owners.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from crm_attribution.sandbox.instants import iso
from crm_attribution.sandbox.portal.kinds import STAGES, Kind

Json = dict[str, Any]
EPOCH = iso(0)
DEAL_STAGES = (
    ("appointmentscheduled", "Appointment Scheduled", "0.2"),
    ("qualifiedtobuy", "Qualified To Buy", "0.4"),
    ("presentationscheduled", "Presentation Scheduled", "0.6"),
    ("decisionmakerboughtin", "Decision Maker Bought-In", "0.8"),
    ("contractsent", "Contract Sent", "0.9"),
    ("closedwon", "Closed Won", "1.0"),
    ("closedlost", "Closed Lost", "0.0"),
)
LIFECYCLE_LABELS = {"marketingqualifiedlead": "Marketing Qualified Lead", "salesqualifiedlead": "Sales Qualified Lead"}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def stage(raw: Json, order: int, made: str) -> Json:
    """A pipeline stage with everything HubSpot answers, from what the log gives."""
    return {
        "label": raw["id"],
        "displayOrder": order,
        "createdAt": made,
        "updatedAt": made,
        "archived": False,
        "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
        **raw,
        "metadata": {name: _text(value) for name, value in (raw.get("metadata") or {}).items()},
    }


def pipeline(raw: Json, made: str) -> Json:
    """A complete pipeline, from what the log gives."""
    stages = [stage(item, order, made) for order, item in enumerate(raw["stages"])]
    head = {"label": raw["id"], "displayOrder": 0, "createdAt": made, "updatedAt": made, "archived": False}
    return {**head, **raw, "stages": stages}


def default_deal_pipeline() -> Json:
    """The pipeline every account starts with; it and its stages report the epoch as their creation."""
    closed = {"1.0", "0.0"}
    stages = [
        {"id": key, "label": label, "metadata": {"isClosed": chance in closed, "probability": chance}}
        for key, label, chance in DEAL_STAGES
    ]
    return pipeline({"id": "default", "label": "Sales Pipeline", "stages": stages}, EPOCH)


def lifecycle_pipeline(kind: Kind) -> Json:
    """The lifecycle stages of contacts and companies, which HubSpot lists as a pipeline too."""
    stages = [{"id": key, "label": LIFECYCLE_LABELS.get(key, key.title())} for key in STAGES]
    return pipeline(
        {"id": f"{kind.name}-lifecycle-pipeline", "label": "Lifecycle Stage Pipeline", "stages": stages}, EPOCH
    )


def owner(raw: Json, made: str) -> Json:
    """A complete owner. An archived one has no userId; its real one is in userIdIncludingInactive."""
    user = raw.get("userId") or (int(raw["id"]) + 1_000_000 if str(raw["id"]).isdigit() else None)
    head = {"email": None, "type": "PERSON", "firstName": "", "lastName": "", "createdAt": made, "updatedAt": made}
    archived = bool(raw.get("archived", False))
    tail = {
        "id": str(raw["id"]),
        "archived": archived,
        "userId": None if archived else user,
        "userIdIncludingInactive": user,
    }
    return {**head, **raw, **tail}


def account(raw: Json, now: int) -> Json:
    """The answer of `GET /account-info/v3/details`."""
    zone = ZoneInfo(raw["timeZone"])
    offset = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone).utcoffset()
    seconds = int(offset.total_seconds()) if offset else 0
    sign, size = ("-" if seconds < 0 else "+"), abs(seconds)
    head = {
        "accountType": "STANDARD",
        "additionalCurrencies": [],
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    }
    tail = {
        "utcOffset": f"{sign}{size // 3600:02d}:{size % 3600 // 60:02d}",
        "utcOffsetMilliseconds": seconds * 1000,
    }
    return {**head, **raw, **tail}


_FIELD_TYPES = {"number": "number", "enumeration": "select", "bool": "booleancheckbox", "datetime": "date"}
_READ_ONLY = ("hs_object_id", "hs_merged_object_ids", "hs_calculated_merged_vids")


def property_definition(kind: Kind, name: str, options: list[Json]) -> Json:
    """One row of `GET /crm/properties/{type}`, as the account has it from the start."""
    value_type = kind.type_of(name)
    read_only = name in _READ_ONLY or name == kind.modified_property or name.startswith("hs_v2_date_")
    return {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "type": value_type,
        "fieldType": field_type(value_type),
        "groupName": f"{kind.singular}information",
        "description": "",
        "options": options,
        "displayOrder": -1,
        "hasUniqueValue": name == "hs_object_id" or (kind.name == "contacts" and name == "email"),
        "hidden": False,
        "formField": kind.name == "contacts",
        "calculated": False,
        "externalOptions": name == "hubspot_owner_id",
        "archived": False,
        "hubspotDefined": name in kind.types or name.startswith("hs_"),
        "createdAt": EPOCH,
        "updatedAt": EPOCH,
        "modificationMetadata": {
            "archivable": False,
            "readOnlyDefinition": True,
            "readOnlyOptions": False,
            "readOnlyValue": read_only,
        },
    }


def field_type(value_type: str) -> str:
    """How a property of this type is shown in a form."""
    return _FIELD_TYPES.get(value_type, "text")
