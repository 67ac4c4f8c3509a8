"""HubSpot's writes to records: `POST /crm/objects/…/{contacts,companies,deals}/batch/update`, and new properties.

https://developers.hubspot.com/docs/api/crm/contacts, https://developers.hubspot.com/docs/api/crm/properties. What is
written changes the portal. A write to HubSpot's own first touch is dropped without a word; phones and domains are
reformatted; both are reported by integrators, not documented. `counted` are inputs that changed something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.hubspot.answers import error, invalid, json_body, missing
from crm_attribution.sandbox.hubspot.api import HubSpot
from crm_attribution.sandbox.hubspot.objects import batch_answer, shown
from crm_attribution.sandbox.hubspot.webhooks import APP_ID
from crm_attribution.sandbox.instants import iso
from crm_attribution.sandbox.platforms.base import Inbox, Setup
from crm_attribution.sandbox.portal import parse_lines
from crm_attribution.sandbox.portal.records import Record
from crm_attribution.sandbox.world import World

Json = dict[str, Any]
MOST = 100
SOURCE = {"source": "INTEGRATION", "source_id": str(APP_ID)}
"""How HubSpot says that an app has written a value: by the app's id."""

DROPPED = re.compile(r"hs_analytics_.*|hs_latest_source.*")
OBJECTS = ("contacts", "companies", "deals")


def create(world: World) -> HubSpotProperties:
    return HubSpotProperties(world)


def inbox_of(world: World) -> Inbox:
    """What records are given, by whichever call."""
    found: Inbox = world.shared.setdefault("records", Inbox())
    return found


def normal(name: str, value: str) -> str:
    """A value as HubSpot keeps it."""
    digits = re.sub(r"[^0-9]", "", value)
    if "phone" in name and re.fullmatch(r"[0-9 ()./+-]+", value) and 6 < len(digits.lstrip("0")) < 16:
        return "+" + (digits if value.startswith("+") else "49" + digits.lstrip("0"))
    if "domain" in name or "website" in name:
        return re.sub(r"^(https?://)?(www\.)?", "", value.strip().lower()).rstrip("/")
    return value


class HubSpotProperties:
    """Writes to records, whoever makes them."""

    name = "hubspot_properties"
    prefix = "/crm/objects/2026-03/contacts/batch/update"

    def __init__(self, world: World) -> None:
        self._world, self._hubspot = world, HubSpot(world)
        self.inbox, self.setup = inbox_of(world), Setup()
        self._groups: set[tuple[str, str]] = set()

    def env(self, base_url: str) -> dict[str, str]:
        del base_url
        return {}

    def routes(self) -> Sequence[BaseRoute]:
        found: list[BaseRoute] = []
        for kind in OBJECTS:
            found += [
                Route(f"/crm/objects/{kind}/batch/update", self._update, methods=["POST"]),
                Route(f"/crm/properties/{kind}", self._make, methods=["POST"]),
                Route(f"/crm/properties/{kind}/groups", self._make_group, methods=["POST"]),
                Route(f"/crm/properties/{kind}/groups/{{group}}", self._group),
                Route(f"/crm/properties/{kind}/{{name}}", self._options, methods=["PATCH"]),
            ]
        return found

    def admit(self, request: Request) -> Response | None:
        return self._hubspot.admit(request)

    def refusal(self, status: int, fault: Fault) -> Response:
        return self._hubspot.refusal(status, fault)

    # --- properties

    async def _make(self, request: Request) -> Response:
        body, kind = await json_body(request), _kind(request)
        properties = self._world.portal.stores[kind].properties
        if body.get("name") in properties.names:
            raise error(request, 409, "CONFLICT", f"A property named '{body['name']}' already exists.")
        if not all(body.get(field) for field in ("name", "label", "type", "fieldType", "groupName")):
            raise invalid(request, "name, label, type, fieldType and groupName are required")
        if body["groupName"].startswith("crm_attribution") and (kind, body["groupName"]) not in self._groups:
            raise invalid(request, f"Property group {body['groupName']} does not exist")
        properties.change({"add": [body]}, iso(self._world.portal.now))
        return Answer(body, 201)

    async def _options(self, request: Request) -> Response:
        body, properties = await json_body(request), self._world.portal.stores[_kind(request)].properties
        name = request.path_params["name"]
        if name not in properties.names:
            raise missing(request)
        properties.change(
            {"add": [{"name": name, "type": properties.type_of(name), **body}]}, iso(self._world.portal.now)
        )
        return Answer({"name": name, **body})

    async def _make_group(self, request: Request) -> Response:
        body = await json_body(request)
        self._groups.add((_kind(request), str(body.get("name"))))
        return Answer(body, 201)

    async def _group(self, request: Request) -> Response:
        if (_kind(request), request.path_params["group"]) not in self._groups:
            raise missing(request)
        return Answer({"name": request.path_params["group"], "archived": False})

    # --- records

    def object_of(self, request: Request) -> str:
        """The type of the records that a request writes to."""
        return _kind(request)

    def check(self, request: Request, record: Record, given: Json) -> None:
        """Refuse values that the record cannot take."""

    async def _update(self, request: Request) -> Response:
        kind = self.object_of(request)
        inputs = await inputs_of(request, self._world, self.inbox, kind)
        ids = [str(one.get("id")) for one in inputs]
        if len(ids) != len(set(ids)):
            raise invalid(request, "Duplicate IDs found in batch input")
        for one in inputs:
            if (known := self._world.portal.stores[kind].find(str(one["id"]))) is not None:
                self.check(request, known, one.get("properties") or {})
        self.inbox.received.extend(inputs)
        results, errors = [], []
        for one in inputs:
            record = self._world.portal.stores[kind].find(str(one["id"]))
            if record is None or record.archived_at is not None:
                told = {"ids": [str(one["id"])], "objectWriteTraceId": [str(one.get("objectWriteTraceId"))]}
                gone = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "not found", "context": told}
                errors.append(gone)
                continue
            write(self._world, self.inbox, kind, record.id, one)
            results.append(result_of(self._world, kind, record.id, one))
        return batch_answer(request, results, errors)


async def inputs_of(request: Request, world: World, inbox: Inbox, kind: str) -> list[Json]:
    """The inputs of a batch that writes; a property that is none, or a value that is no text, refuses all."""
    inbox.requests += 1
    inputs = (await json_body(request)).get("inputs")
    if not isinstance(inputs, list) or not 0 < len(inputs) <= MOST:
        raise invalid(request, f"inputs is a list of 1 to {MOST} records")
    properties = world.portal.stores[kind].properties
    for one in inputs:
        for name, value in (one.get("properties") or {}).items():
            if not properties.known(name):
                raise invalid(request, f'Property "{name}" does not exist', errors=[{"code": "PROPERTY_DOESNT_EXIST"}])
            if not isinstance(value, str):
                raise invalid(request, f"{name} is no text")
    return inputs


def result_of(world: World, kind: str, identifier: str, given: Json) -> Json:
    """What a batch answers of a record that was written."""
    store = world.portal.stores[kind]
    names = [*given["properties"], "hs_object_id", store.kind.modified_property]
    return shown(store.records[identifier], names)


def write(world: World, inbox: Inbox, kind: str, identifier: str, given: Json) -> None:
    """Write what HubSpot keeps of an input to a record; one that changes something is counted."""
    record = world.portal.stores[kind].records[identifier]
    kept = {name: normal(name, text) for name, text in given["properties"].items() if not DROPPED.fullmatch(name)}
    changed = {name: text for name, text in kept.items() if record.value(name) != text}
    if not changed:
        return
    line: Json = {"at": iso(world.portal.now), "op": "update", "object": kind, "id": identifier}
    lines = [json.dumps({**line, **SOURCE, "properties": changed})]
    world.portal.append(parse_lines(lines))
    inbox.counted.append({**given, "object": kind})


def _kind(request: Request) -> str:
    return next(kind for kind in OBJECTS if f"/{kind}" in request.url.path)
