"""Webhooks: what happened in the account as HubSpot's events, signed and posted in batches.

Fields: https://developers.hubspot.com/docs/api/webhooks. Signatures: https://developers.hubspot.com/docs/apps/
developer-platform/build-apps/authentication/request-validation. Retries: any status but 2xx and no answer within five
seconds, ten times (https://developers.hubspot.com/docs/api-reference/error-handling); here a retry goes out with the
next delivery. A merge has its own event and that of the associated company that follows; moved values have none.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from crm_attribution.sandbox.instants import to_ms
from crm_attribution.sandbox.portal.associations import Node
from crm_attribution.sandbox.portal.feed import Happening
from crm_attribution.sandbox.portal.kinds import KINDS
from crm_attribution.sandbox.portal.records import Entry
from crm_attribution.sandbox.world import World

Json = dict[str, Any]
APP_ID = 1160452
MOST, MOST_RETRIES, PATIENCE = 100, 10, 5.0
SILENT = ("num_unique_conversion_events", "hs_lastmodifieddate")
FLAGS = {"creation": "NEW", "deletion": "DELETED", "merge": "MERGED", "restore": "RESTORED"}
_ESCAPES = "3A 2F 3F 40 21 24 27 28 29 2A 2C 3B"
_DECODED = re.compile(f"%({_ESCAPES.replace(' ', '|')})", re.IGNORECASE)


class BadDelivery(ValueError):
    """A delivery that is not understood; the message names the field."""


@dataclass(frozen=True)
class Delivery:
    """Where and how to deliver.

    Attributes:
        types: names such as `contact.creation` or patterns such as `deal.*`; others are not subscribed to.
        properties: the only properties whose changes are delivered.
        duplicate: every event is sent twice.
        shuffle: seed of the order; without one, the order in which things happened.
        public_url: the address that is signed, if there is a proxy in front of `url`.
        timestamp: of the signature, ISO 8601; the sandbox's clock without it.
        generic: `object.*` types with `objectTypeId`, as the new platform sends them.
        type_key: `subscriptionType`, or `eventType` as one page of the documentation has it.
        parallel: requests at a time.
        since: what happened before is not delivered, ISO 8601.
    """

    url: str
    secret: str
    types: Sequence[str] = ("*",)
    properties: Sequence[str] | None = None
    batch: int = MOST
    signature: str = "v3"
    duplicate: bool = False
    shuffle: int | None = None
    public_url: str | None = None
    timestamp: int | None = None
    generic: bool = False
    type_key: str = "subscriptionType"
    parallel: int = 1
    since: int | None = None


def parse_delivery(raw: Any) -> Delivery:
    """The delivery of a request body.

    Raises:
        BadDelivery: at the first field that is not understood.
    """
    if not isinstance(raw, dict) or not all(isinstance(raw.get(name), str) for name in ("url", "secret")):
        raise BadDelivery('the body is {"url": ..., "secret": ...} and options')
    known = [field.name for field in fields(Delivery)]
    unknown = [name for name in raw if name not in known]
    if unknown:
        raise BadDelivery(f"`{unknown[0]}` is unknown; known are {', '.join(known)}")
    moments = {name: to_ms(raw[name]) for name in ("timestamp", "since") if raw.get(name) is not None}
    delivery = Delivery(**{name: value for name, value in raw.items() if value is not None} | moments)
    if isinstance(delivery.types, str):
        raise BadDelivery("`types` is a list")
    if urlsplit(delivery.url).scheme not in ("http", "https"):
        raise BadDelivery("`url` starts with http:// or https://")
    if delivery.signature not in ("v1", "v2", "v3"):
        raise BadDelivery("`signature` is v1, v2 or v3")
    if not 0 < delivery.batch <= MOST:
        raise BadDelivery(f"`batch` is between 1 and {MOST}")
    if not 0 < delivery.parallel <= 50:
        raise BadDelivery("`parallel` is between 1 and 50")
    return delivery


# -- signatures -----------------------------------------------------------------------------------------------------


def signed_uri(url: str) -> str:
    """The address as v3 signs it: twelve escapes decoded, the others as they are."""
    return _DECODED.sub(lambda found: chr(int(found[1], 16)), url)


def signature_headers(version: str, secret: str, url: str, body: bytes, timestamp: int) -> dict[str, str]:
    """The headers of a POST. v3 comes in addition to v1."""
    plain = {"v1": secret.encode() + body, "v2": f"{secret}POST{url}".encode() + body}
    digest = "v2" if version == "v2" else "v1"
    headers = {
        "X-HubSpot-Signature": hashlib.sha256(plain[digest]).hexdigest(),
        "X-HubSpot-Signature-Version": digest,
    }
    if version == "v3":
        message = f"POST{signed_uri(url)}".encode() + body + str(timestamp).encode()
        mac = hmac.new(secret.encode(), message, hashlib.sha256).digest()
        headers["X-HubSpot-Signature-v3"] = base64.b64encode(mac).decode()
        headers["X-HubSpot-Request-Timestamp"] = str(timestamp)
    return headers


# -- events ---------------------------------------------------------------------------------------------------------


def _property_changes(changes: Sequence[tuple[str, Entry]]) -> Iterator[Json]:
    for name, entry in changes:
        if name in SILENT:
            continue
        event: Json = {"propertyName": name, "propertyValue": entry.value, "changeSource": entry.source}
        if entry.source_id is not None:
            event["sourceId"] = entry.source_id
        yield {**event, "isSensitive": False}


def _merge(row: Happening) -> Json:
    primary, merged, moved = row.details
    return {
        "primaryObjectId": int(primary),
        "mergedObjectIds": [int(merged)],
        "newObjectId": int(row.id),
        "numberOfPropertiesMoved": moved,
    }


class Webhooks:
    """The webhooks of one app in the account."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: list[Json] = []
        self._events = 0
        self._subscriptions: dict[str, int] = {}

    def forget(self) -> None:
        """Deliver nothing that happened until now: the app is installed now."""
        self._world.portal.feed.take()
        self._waiting = []

    @property
    def due(self) -> Json:
        """What a delivery would contain, and what was refused before."""
        return {"happenings": len(self._world.portal.feed), "refused": len(self._waiting)}

    def events(self, delivery: Delivery) -> list[Json]:
        """The events since the last time to which the app is subscribed, attempt 0."""
        since = -(2**62) if delivery.since is None else delivery.since
        rows = (row for row in self._world.portal.feed.take() if row.at >= since)
        return [event for row in rows for event in self._events_of(row, delivery)]

    def _events_of(self, row: Happening, delivery: Delivery) -> Iterator[Json]:
        if row.what == "associationChange":
            yield from self._association(row, delivery)
            return
        if row.what != "propertyChange":
            more = _merge(row) if row.what == "merge" else {}
            flag = {"changeFlag": FLAGS[row.what]} if row.what in FLAGS else {}
            yield from self._event(row, row.what, delivery, {"objectId": int(row.id), **more, **flag})
        changes = row.changes() if row.what in ("creation", "propertyChange") else []
        for change in _property_changes(changes):
            if delivery.properties is None or change["propertyName"] in delivery.properties:
                yield from self._event(row, "propertyChange", delivery, {"objectId": int(row.id), **change})

    def _association(self, row: Happening, delivery: Delivery) -> Iterator[Json]:
        """One event for each direction; they name both ends and no `objectId`."""
        other, primary, removed, label = row.details
        one = Node(row.kind, row.id)
        for start, end in ((one, other), (other, one)):
            kinds = KINDS[start.kind], KINDS[end.kind]
            more: Json = {
                "associationType": f"{kinds[0].singular}_TO_{kinds[1].singular}".upper(),
                "fromObjectId": int(start.id),
                "toObjectId": int(end.id),
                "associationRemoved": removed,
                "isPrimaryAssociation": primary,
            }
            if delivery.generic:
                more["fromObjectTypeId"], more["toObjectTypeId"] = kinds[0].type_id, kinds[1].type_id
                more["associationTypeId"] = self._world.portal.graph.type_id(start, end, primary=primary, label=label)
                more["associationCategory"] = "USER_DEFINED" if label else "HUBSPOT_DEFINED"
            yield from self._event(row._replace(kind=start.kind), "associationChange", delivery, more)

    def _event(self, row: Happening, what: str, delivery: Delivery, more: Json) -> Iterator[Json]:
        """The event, if the app is subscribed to it."""
        kind = KINDS[row.kind]
        generic = delivery.generic and what != "privacyDeletion"
        name = f"{'object' if generic else kind.singular}.{what}"
        if not any(fnmatchcase(name, pattern) for pattern in delivery.types):
            return
        self._events += 1
        subscription = f"{name} {more.get('propertyName', '')}"
        event: Json = {
            "eventId": 100 + self._events,
            "subscriptionId": self._subscriptions.setdefault(subscription, 2_300_001 + len(self._subscriptions)),
            "portalId": self._world.portal.account["portalId"],
            "appId": APP_ID,
            "occurredAt": row.at,
            delivery.type_key: name,
            "attemptNumber": 0,
            "changeSource": row.source,
            **({"objectTypeId": kind.type_id} if generic and "objectId" in more else {}),
            **more,
        }
        yield event

    # -- delivery ---------------------------------------------------------------------------------------------------

    async def deliver(self, delivery: Delivery) -> Json:
        """Post what is due and what was refused before; the events of refused requests wait for the next delivery."""
        retried, self._waiting = self._waiting, []
        fresh = self.events(delivery)
        queue = [*retried, *fresh, *(fresh if delivery.duplicate else [])]
        if delivery.shuffle is not None:
            random.Random(delivery.shuffle).shuffle(queue)
        batches = [queue[first : first + delivery.batch] for first in range(0, len(queue), delivery.batch)]
        slots = asyncio.Semaphore(delivery.parallel)

        async def send(batch: list[Json]) -> bool:
            async with slots:
                return await asyncio.to_thread(self._post, delivery, batch)

        taken = await asyncio.gather(*(send(batch) for batch in batches))
        refused = [event for batch, good in zip(batches, taken, strict=True) if not good for event in batch]
        again = [{**event, "attemptNumber": event["attemptNumber"] + 1} for event in refused]
        self._waiting = [event for event in again if event["attemptNumber"] <= MOST_RETRIES]
        return {"delivered": len(queue) - len(refused), "requests": len(batches), "refused": len(refused)}

    def _post(self, delivery: Delivery, batch: list[Json]) -> bool:
        """Whether the receiver took a batch."""
        body = json.dumps(batch, ensure_ascii=False, separators=(",", ":")).encode()
        now = self._world.portal.now if delivery.timestamp is None else delivery.timestamp
        signed = signature_headers(delivery.signature, delivery.secret, delivery.public_url or delivery.url, body, now)
        try:
            return 200 <= _status(delivery.url, body, {"Content-Type": "application/json", **signed}) < 300
        except (OSError, http.client.HTTPException):
            return False


def _status(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status a POST is answered with; redirects are not followed."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()
