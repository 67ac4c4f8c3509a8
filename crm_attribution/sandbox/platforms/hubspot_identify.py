"""HubSpot's upserts of contacts and companies by a unique property, and associations that are made.

https://developers.hubspot.com/docs/api-reference/2026-03/crm/objects/companies/batch/upsert-companies. A property that
is not unique is refused, `hs_object_id` too, and so is a batch with one record twice, as integrators report. What is
made has an id of the sandbox's. Records that are known are written by `hubspot_properties`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.hubspot.answers import invalid, json_body
from crm_attribution.sandbox.hubspot.api import HubSpot
from crm_attribution.sandbox.hubspot.objects import batch_answer
from crm_attribution.sandbox.instants import iso
from crm_attribution.sandbox.platforms.base import Setup
from crm_attribution.sandbox.platforms.hubspot_properties import (
    MOST,
    SOURCE,
    Json,
    inbox_of,
    inputs_of,
    normal,
    result_of,
    write,
)
from crm_attribution.sandbox.portal import parse_lines
from crm_attribution.sandbox.world import World

FIRST_ID = 700_000_001
_TYPES = {279, 1}
"""Of an association of a contact with a company: plain and primary."""


def create(world: World) -> HubSpotIdentify:
    return HubSpotIdentify(world)


class HubSpotIdentify:
    """Records that may be made, and their associations."""

    name = "hubspot_identify"
    prefix = "/crm/objects/2026-03/contacts/batch/upsert"

    def __init__(self, world: World) -> None:
        self._world, self._hubspot = world, HubSpot(world)
        self.inbox, self.setup = inbox_of(world), Setup()
        self._made = 0

    def env(self, base_url: str) -> dict[str, str]:
        del base_url
        return {}

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/crm/objects/contacts/batch/upsert", self._upsert, methods=["POST"]),
            Route("/crm/objects/companies/batch/upsert", self._upsert, methods=["POST"]),
            Route("/crm/associations/contacts/companies/batch/create", self._associate, methods=["POST"]),
        ]

    def admit(self, request: Request) -> Response | None:
        return self._hubspot.admit(request)

    def browser(self, account: str, action: str, key: str) -> None:
        """Nothing of ours is told by a browser there."""

    def refusal(self, status: int, fault: Fault) -> Response:
        return self._hubspot.refusal(status, fault)

    async def _upsert(self, request: Request) -> Response:
        kind = "contacts" if "/contacts/" in request.url.path else "companies"
        inputs = await inputs_of(request, self._world, self.inbox, kind)
        for one in inputs:
            name = str(one.get("idProperty"))
            if not self._is_unique(kind, name):
                raise invalid(request, f"Unable to perform update/upsert by non-unique {kind} property {name}")
        found = [self._find(kind, one) for one in inputs]
        known = [record or str(one["id"]).casefold() for record, one in zip(found, inputs, strict=True)]
        if len(known) != len(set(known)):
            raise invalid(request, "Duplicate IDs found in batch input")
        self.inbox.received.extend(inputs)
        results = []
        for record, one in zip(found, inputs, strict=True):
            key = {one["idProperty"]: str(one["id"])}
            given = {**one, "properties": {**key, **one["properties"]}}
            made = record is None
            if record is None:
                record = self._create(kind, given)
            else:
                write(self._world, self.inbox, kind, record, given)
            result = result_of(self._world, kind, record, given)
            results.append({**result, "new": made, "objectWriteTraceId": one.get("objectWriteTraceId")})
        return batch_answer(request, results, [])

    def _is_unique(self, kind: str, name: str) -> bool:
        properties = self._world.portal.stores[kind].properties
        own = properties.known(name) and properties.shown({"name": name}).get("hasUniqueValue") is True
        return own or (kind, name) == ("contacts", "email")

    def _find(self, kind: str, given: Json) -> str | None:
        """The live record that has the value; of an e-mail as its primary one."""
        store, wanted = self._world.portal.stores[kind], str(given["id"]).casefold()
        live = (one for one in store.records.values() if one.archived_at is None)
        return next((one.id for one in live if (one.value(given["idProperty"]) or "").casefold() == wanted), None)

    def _create(self, kind: str, given: Json) -> str:
        identifier = str(FIRST_ID + self._made)
        self._made += 1
        kept = {name: normal(name, text) for name, text in given["properties"].items()}
        line: Json = {"at": iso(self._world.portal.now), "op": "create", "object": kind, "id": identifier}
        self._world.portal.append(parse_lines([json.dumps({**line, **SOURCE, "properties": kept})]))
        self.inbox.counted.append({**given, "object": kind})
        return identifier

    async def _associate(self, request: Request) -> Response:
        self.inbox.requests += 1
        inputs = (await json_body(request)).get("inputs")
        if not isinstance(inputs, list) or not 0 < len(inputs) <= MOST:
            raise invalid(request, f"inputs is a list of 1 to {MOST} pairs")
        self.inbox.received.extend(inputs)
        stores, results, errors = self._world.portal.stores, [], []
        for one in inputs:
            types = {kind.get("associationTypeId") for kind in one.get("types") or []}
            if not types or not types <= _TYPES:
                raise invalid(request, "types of an association of a contact with a company are 279 and 1")
            contact, company = str(one["from"]["id"]), str(one["to"]["id"])
            ends = stores["contacts"].find(contact), stores["companies"].find(company)
            if any(end is None or end.archived_at is not None for end in ends):
                told = {"fromObjectId": [contact], "toObjectId": [company]}
                errors.append({"status": "error", "category": "OBJECT_NOT_FOUND", "message": "gone", "context": told})
                continue
            line = {"at": iso(self._world.portal.now), "op": "associate", "from": ["contacts", contact]}
            more = {"to": ["companies", company], "primary": 1 in types}
            self._world.portal.append(parse_lines([json.dumps({**line, **more})]))
            self.inbox.counted.append({**one, "object": "memberships"})
            results.append({"fromObjectId": contact, "toObjectId": company, "labels": []})
        body: Json = {"status": "COMPLETE", "results": results}
        if errors:
            body |= {"numErrors": len(errors), "errors": errors}
        return Answer(body, 207 if errors else 201)
