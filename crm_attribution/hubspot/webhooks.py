"""What webhooks and workflows said, as rows of `raw.webhook_event` and what follows from each: pure.

An event is identified by its content, never by the delivery attempt. Nothing it says about a record's values is
believed: it names records to be read again; merges and deletions alone are facts of their own.
https://developers.hubspot.com/docs/api/webhooks
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.parsed import Refused
from crm_attribution.hubspot.texts import clean
from crm_attribution.hubspot.wire import moment, read_json
from crm_attribution.identifiers import normalise_email, record_id, sha256

SINGULAR = {one.singular: one.name for one in OBJECT_TYPES.values()}
TYPE_ID = {one.type_id: one.name for one in OBJECT_TYPES.values()}

TABLE = "raw.webhook_event"

Json = Mapping[str, Any]
Named = tuple[str, int]
"""Object type and record id."""

_COLUMNS = {
    "eventId",
    "subscriptionId",
    "subscriptionType",
    "eventType",
    "objectId",
    "propertyName",
    "propertyValue",
    "changeSource",
    "portalId",
    "appId",
    "attemptNumber",
    "occurredAt",
}
_ENDS = ("fromObjectId", "toObjectId", "associationType", "associationTypeId", "associationRemoved")


@dataclass(frozen=True)
class Delivery:
    """A file of the inbox. `kind` is hubspot or ingest."""

    name: str
    kind: str
    received_at: datetime
    body: str | bytes


@dataclass(frozen=True)
class Event:
    """An event and what follows from it.

    Attributes:
        row: its row of raw.webhook_event.
        touched: records to be read again.
        absorbed: (object type, absorbed id, survivor id) of a merge.
        record: the record it is about, where it is of a type that is read here.
        gone: the record is `archived`, or erased (`privacy`); None otherwise.
        emails: addresses whose contacts are to be read again.
    """

    row: dict[str, Any]
    touched: tuple[Named, ...] = ()
    absorbed: tuple[tuple[str, int, int], ...] = ()
    record: Named | None = None
    gone: str | None = None
    emails: tuple[str, ...] = ()


def read_delivery(name: str, content: bytes) -> Delivery | Refused:
    """A file as the receiver wrote it."""
    try:
        given = read_json(content)
        received_at = moment(given["received_at"])
        if given["kind"] not in ("hubspot", "ingest") or received_at is None:
            raise ValueError("not as the receiver writes it")
        body = base64.b64decode(given["body_base64"]) if "body_base64" in given else str(given["body"])
    except (ValueError, KeyError, TypeError):
        return _refused(name, "file:not_a_delivery", content)
    return Delivery(name, given["kind"], received_at, body)


def events(delivery: Delivery, portal_id: str) -> Iterator[Event | Refused]:
    """The events of a delivery; each that cannot be understood is refused by itself, with its reason."""
    try:
        content = read_json(delivery.body)
    except ValueError:
        yield _refused(delivery.name, "body:not_json", delivery.body)
        return
    if delivery.kind == "ingest" or isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        yield _refused(delivery.name, "body:not_a_list", delivery.body)
        return
    read = _ingested if delivery.kind == "ingest" else _from_hubspot
    for number, given in enumerate(content, 1):
        try:
            if not isinstance(given, dict):
                raise ValueError("event:not_an_object")
            yield read(given, delivery, portal_id)
        except ValueError as error:
            key = delivery.name if delivery.kind == "ingest" else f"{delivery.name} event {number}"
            yield Refused(key, str(error), _text(given), delivery.name)


def _from_hubspot(given: Json, delivery: Delivery, portal_id: str) -> Event:
    """Raises ValueError with the field and what is wrong with it."""
    name = given.get("subscriptionType") or given.get("eventType")
    if not isinstance(name, str):
        raise ValueError("subscriptionType:missing")
    portal = record_id(given.get("portalId"))
    if str(portal) != portal_id:
        raise ValueError("portalId:missing" if portal is None else "portalId:another_portal")
    occurred_at = moment(given.get("occurredAt"))
    if occurred_at is None:
        raise ValueError("occurredAt:not_a_time")
    subject, _, what = name.partition(".")
    object_type = _object_type(subject, given)
    object_id = record_id(given.get("objectId"))
    follows: dict[str, Any] = {}
    if object_type is not None:
        if what == "merge":
            object_id, follows = _merge(object_type, object_id, given)
        elif what == "associationChange":
            object_id, follows = _association(object_type, object_id, given)
        elif object_id is None:
            raise ValueError("objectId:not_an_id")
        elif what == "privacyDeletion" and object_type == "contacts":
            follows = {"gone": "privacy"}
        else:
            follows = {"touched": ((object_type, object_id),), "gone": "archived" if what == "deletion" else None}
    attempt = given.get("attemptNumber")
    row = {
        "source": "hubspot",
        "hubspot_event_id": _plain(given.get("eventId")),
        "subscription_id": _plain(given.get("subscriptionId")),
        "subscription_type": clean(name),
        "object_type": object_type,
        "object_id": _plain(given.get("objectId")) if object_id is None else str(object_id),
        "property_name": _plain(given.get("propertyName")),
        "property_value": _plain(given.get("propertyValue")),
        "change_source": _plain(given.get("changeSource")),
        "portal_id": portal_id,
        "app_id": _plain(given.get("appId")),
        "attempt_number": attempt if type(attempt) is int and 0 <= attempt < 2**31 else None,
        "occurred_at": occurred_at,
        "received_at": delivery.received_at,
        "details": _text({field: value for field, value in given.items() if field not in _COLUMNS}),
    }
    about = ("portalId", "subscriptionId", "eventId", "objectId", "occurredAt", "propertyName")
    ends = _ENDS if what == "associationChange" else ()
    key = _key([clean(name), *(_plain(given.get(field)) for field in (*about, *ends))])
    record = None if object_type is None or object_id is None else (object_type, object_id)
    return Event({"event_key": key, **row}, record=record, **follows)


def _merge(object_type: str, object_id: int | None, given: Json) -> tuple[int, dict[str, Any]]:
    """Both the primary and the merged ids lead to the new record; where there is no new one, the primary stays."""
    merged = given.get("mergedObjectIds")
    losers = [record_id(one) for one in merged] if isinstance(merged, list) else [None]
    if not losers or None in losers:
        raise ValueError("mergedObjectIds:not_ids")
    primary = record_id(given.get("primaryObjectId"))
    survivor = record_id(given.get("newObjectId")) or primary
    if survivor is None:
        raise ValueError("newObjectId:missing, and so is primaryObjectId")
    absorbed = dict.fromkeys(one for one in (primary, *losers) if one is not None and one != survivor)
    return object_id or survivor, {
        "touched": ((object_type, survivor),),
        "absorbed": tuple((object_type, one, survivor) for one in absorbed),
    }


def _association(object_type: str, object_id: int | None, given: Json) -> tuple[int, dict[str, Any]]:
    """Both ends; the other end's type may be one we do not read."""
    start = record_id(given.get("fromObjectId")) or object_id
    if start is None:
        raise ValueError("fromObjectId:not_an_id")
    end, other = record_id(given.get("toObjectId")), TYPE_ID.get(str(given.get("toObjectTypeId")))
    words = str(given.get("associationType") or "").partition("_TO_")[2].lower().split("_")
    other = other or next((SINGULAR[word] for word in words if word in SINGULAR), None)
    both = ((object_type, start), *([(other, end)] if other and end else []))
    return object_id or start, {"touched": both}


def _object_type(subject: str, given: Json) -> str | None:
    if subject == "object":
        return TYPE_ID.get(str(given.get("objectTypeId") or given.get("fromObjectTypeId")))
    return SINGULAR.get(subject)


def _ingested(given: Json, delivery: Delivery, portal_id: str) -> Event:
    """Raises ValueError with the field and what is wrong with it."""
    name, occurred_at = given.get("event"), moment(given.get("occurred_at"))
    if not isinstance(name, str) or not name.strip():
        raise ValueError("event:missing")
    if occurred_at is None:
        raise ValueError("occurred_at:not_a_time")
    portal = given.get("portal_id", given.get("portalId"))
    if portal is not None and str(record_id(portal)) != portal_id:
        raise ValueError("portal_id:another_portal")
    records = {kind: given[kind] for kind in SINGULAR if isinstance(given.get(kind), dict)}
    ids = {
        kind: record_id(record.get("id")) or record_id(record.get("hs_object_id")) for kind, record in records.items()
    }
    touched = tuple((SINGULAR[kind], one) for kind, one in ids.items() if one is not None)
    email = records.get("contact", {}).get("email")
    address = normalise_email(clean(email)) if isinstance(email, str) and not ids.get("contact") else None
    object_type, object_id = touched[0] if touched else (None, None)
    row = {
        "event_key": _key(["ingest", _text(given)]),
        "source": "ingest",
        "subscription_type": clean(name).strip(),
        "object_type": object_type,
        "object_id": None if object_id is None else str(object_id),
        "portal_id": portal_id,
        "occurred_at": occurred_at,
        "received_at": delivery.received_at,
        "details": _text({field: value for field, value in given.items() if field not in ("event", "occurred_at")}),
    }
    return Event(row, touched, record=touched[0] if touched else None, emails=(address,) if address else ())


def _plain(value: object) -> str | None:
    """A column's text: strings as they are, anything else as JSON."""
    if value is None:
        return None
    return clean(value) if isinstance(value, str) else _text(value)


def _text(value: object) -> str:
    return clean(json.dumps(value, ensure_ascii=False, sort_keys=True))


def _key(parts: list[str | None]) -> str:
    return sha256(_text(parts))


def _refused(name: str, reason: str, content: str | bytes) -> Refused:
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    return Refused(name, reason, _text({"body": text}), name)
