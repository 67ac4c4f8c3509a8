"""HubSpot's notes: `POST /crm/objects/2026-03/notes` and `/batch/create`, and the property that makes them unique.

https://developers.hubspot.com/docs/api-reference/2026-03/crm/activities/notes/guide. A value of a unique property that
another note has is refused; that the status is 400 is an assumption, HubSpot documents none. The property is there from
the start; `setup` takes it away (`missing`) or makes it one that is not unique (`mistyped`).
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
from crm_attribution.sandbox.hubspot.answers import invalid, json_body, missing
from crm_attribution.sandbox.hubspot.api import HubSpot
from crm_attribution.sandbox.instants import iso, to_ms
from crm_attribution.sandbox.platforms.base import Inbox, Setup
from crm_attribution.sandbox.world import World

Json = dict[str, Any]
KEY = "crm_attribution_key"
KNOWN = ("hs_timestamp", "hs_note_body", "hubspot_owner_id", "hs_attachment_ids")
LONGEST, MOST = 65_536, 100


def create(world: World) -> HubSpotNotes:
    return HubSpotNotes(world)


class HubSpotNotes:
    """The notes of an account."""

    name = "hubspot_notes"
    prefix = "/crm/objects/2026-03/notes"

    def __init__(self, world: World) -> None:
        self._world, self._hubspot = world, HubSpot(world)
        self.inbox, self.setup = Inbox(), Setup()
        self._keys: set[str] = set()

    def env(self, base_url: str) -> dict[str, str]:
        del base_url
        return {}

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/crm/objects/notes", self._one, methods=["POST"]),
            Route("/crm/objects/notes/batch/create", self._batch, methods=["POST"]),
            Route("/crm/properties/notes", self._make, methods=["POST"]),
            Route(f"/crm/properties/notes/{KEY}", self._property),
        ]

    def admit(self, request: Request) -> Response | None:
        self.inbox.requests += 1
        return self._hubspot.admit(request)

    def browser(self, account: str, action: str, key: str) -> None:
        """Nothing of ours is told by a browser there."""

    def refusal(self, status: int, fault: Fault) -> Response:
        return self._hubspot.refusal(status, fault)

    async def _property(self, request: Request) -> Response:
        if KEY in self.setup.missing:
            raise missing(request)
        unique = KEY not in self.setup.mistyped
        return Answer({"name": KEY, "label": KEY, "type": "string", "fieldType": "text", "hasUniqueValue": unique})

    async def _make(self, request: Request) -> Response:
        body = await json_body(request)
        if body.get("name") != KEY or body.get("hasUniqueValue") is not True:
            raise invalid(request, f"only {KEY}, a unique one, can be made here")
        self.setup.missing = [name for name in self.setup.missing if name != KEY]
        return Answer(body, 201)

    async def _one(self, request: Request) -> Response:
        note = await json_body(request)
        if (problem := self._problem(note)) is not None:
            raise invalid(request, problem)
        return Answer(self._made(note), 201)

    async def _batch(self, request: Request) -> Response:
        """Where every input has a trace id of its own, each is judged by itself; else one bad one refuses all."""
        inputs = (await json_body(request)).get("inputs")
        if not isinstance(inputs, list) or not inputs or len(inputs) > MOST:
            raise invalid(request, f"inputs is a list of 1 to {MOST} notes")
        if not all(isinstance(note, dict) for note in inputs):
            raise invalid(request, "an input is no object")
        traces = {note.get("objectWriteTraceId") for note in inputs} - {None}
        results, errors = [], []
        for note in inputs:
            problem = self._problem(note)
            if problem is None:
                results.append(self._made(note))
                continue
            told = invalid(request, problem)
            if len(traces) < len(inputs):
                raise told
            body = json.loads(bytes(told.answer.body))
            errors.append({**body, "context": {"objectWriteTraceId": [note["objectWriteTraceId"]]}})
        body = {"status": "COMPLETE", "results": results}
        if errors:
            body |= {"numErrors": len(errors), "errors": errors}
        return Answer(body, 207 if errors else 201)

    def _made(self, note: Json) -> Json:
        self.inbox.counted.append(note)
        self._keys.add(str(note["properties"].get(KEY)))
        now = iso(self._world.portal.now)
        identifier = str(9_000_000 + len(self.inbox.counted))
        times = {"createdAt": now, "updatedAt": now, "archived": False}
        return {"id": identifier, "properties": {**note["properties"], "hs_object_id": identifier}, **times}

    def _problem(self, note: Json) -> str | None:
        """What is wrong with a note; notes its key."""
        self.inbox.received.append(note)
        properties = note.get("properties")
        if not isinstance(properties, dict):
            return "properties is required"
        known = {*KNOWN, KEY} if KEY not in self.setup.missing else set(KNOWN)
        wrong: list[Json] = []
        for name, value in properties.items():
            if name not in known:
                told = f'Property "{name}" does not exist'
                wrong.append({"isValid": False, "message": told, "name": name, "error": "PROPERTY_DOESNT_EXIST"})
            elif not isinstance(value, str):
                wrong.append({"isValid": False, "message": f"{name} is no text", "name": name})
        if properties.get(KEY) in self._keys and KEY not in self.setup.mistyped:
            wrong.append({"isValid": False, "message": f"{properties[KEY]} already has that value.", "name": KEY})
        if wrong:
            return f"Property values were not valid: {json.dumps(wrong)}"
        try:
            to_ms(str(properties.get("hs_timestamp")))
        except ValueError:
            return "hs_timestamp is required, a UTC timestamp or milliseconds"
        if len(properties.get("hs_note_body", "")) > LONGEST:
            return f"hs_note_body has more than {LONGEST} characters"
        for one in note.get("associations") or []:
            types = one.get("types") if isinstance(one, dict) else None
            if not types or not re.fullmatch(r"[1-9]\d*", str((one.get("to") or {}).get("id", ""))):
                return "an association has `to` with an id and `types`"
        return None
