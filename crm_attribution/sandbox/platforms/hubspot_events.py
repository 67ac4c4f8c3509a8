"""HubSpot's custom events: `POST /events/…/send` and `/send/batch`, `GET` and `POST /events/…/event-definitions`.

https://developers.hubspot.com/docs/api-reference/2026-03/events/send-event-data and the limits of
https://developers.hubspot.com/docs/api/events/custom-events. The answer is 204 before an event is looked at: one whose
uuid was used for its type within a year is dropped without a word, and so is one that names no contact (an object id
that is none; an address makes no contact here). One bad event refuses the whole request. What HubSpot answers to an
event that is not defined, or to a property of one, is not documented: here both are refused.

The account has one definition from the start; `setup` takes it away (`missing`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.grants import PRIVATE_TOKEN
from crm_attribution.sandbox.hubspot.answers import error, invalid, json_body
from crm_attribution.sandbox.hubspot.api import HubSpot
from crm_attribution.sandbox.instants import DAY, iso, to_ms
from crm_attribution.sandbox.platforms.base import Inbox, Setup
from crm_attribution.sandbox.world import World

Json = dict[str, Any]

MOST_EVENTS = 500
MOST_DEFINITIONS, MOST_PROPERTIES = 500, 50
REMEMBERED = 365 * DAY
SHORT, LONG = 256, 1024
NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
TYPES = ("string", "number", "enumeration", "datetime", "bool")
DEFAULT = frozenset(
    {
        *("hs_utm_source", "hs_utm_medium", "hs_utm_campaign", "hs_utm_content", "hs_utm_term"),
        *("hs_page_url", "hs_referrer", "hs_link_href", "hs_campaign_id", "hs_touchpoint_source"),
    }
)
"""Of the properties that every event may have."""

FIRST: Json = {
    "name": "tracked_link_clicked",
    "label": "Tracked link clicked",
    "primaryObject": "CONTACT",
    "includeDefaultProperties": True,
    "propertyDefinitions": [
        {"name": name, "label": name, "type": "string"}
        for name in ("link_title", "link_short_url", "link_slug", "link_tags", "channel")
    ],
}


def create(world: World) -> HubSpotEvents:
    return HubSpotEvents(world)


class HubSpotEvents:
    """Definitions of an account, and what is sent for them."""

    name = "hubspot_events"
    prefix = "/events"

    def __init__(self, world: World) -> None:
        self._world, self._hubspot = world, HubSpot(world)
        self.inbox, self.setup = Inbox(), Setup()
        self._made: dict[str, Json] = {FIRST["name"]: FIRST}
        self._seen: dict[tuple[str, str], int] = {}

    def env(self, base_url: str) -> dict[str, str]:
        del base_url
        return {"HUBSPOT_WRITE_TOKEN": PRIVATE_TOKEN}

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/events/{version}/send", self._one, methods=["POST"]),
            Route("/events/{version}/send/batch", self._batch, methods=["POST"]),
            Route("/events/{version}/event-definitions", self._list, methods=["GET"]),
            Route("/events/{version}/event-definitions", self._define, methods=["POST"]),
            Route("/events/{version}/event-definitions/{event}/property", self._add, methods=["POST"]),
        ]

    def admit(self, request: Request) -> Response | None:
        if request.method == "POST" and "/send" in request.url.path:
            self.inbox.requests += 1
        return self._hubspot.admit(request)

    def browser(self, account: str, action: str, key: str) -> None:
        """Nothing of ours is told by a browser there."""

    def refusal(self, status: int, fault: Fault) -> Response:
        return self._hubspot.refusal(status, fault)

    # --- definitions

    def _definitions(self) -> dict[str, Json]:
        """Those there are, by their short name."""
        return {name: one for name, one in self._made.items() if name not in self.setup.missing}

    def _qualified(self, name: str) -> str:
        return f"pe{self._world.portal.account['portalId']}_{name}"

    def _shown(self, made: Mapping[str, Any]) -> Json:
        """As HubSpot answers it."""
        properties = [*made["propertyDefinitions"]]
        if made.get("includeDefaultProperties"):
            properties += [{"name": name, "label": name, "type": "string"} for name in sorted(DEFAULT)]
        return {
            "name": made["name"],
            "fullyQualifiedName": self._qualified(made["name"]),
            "labels": {"singular": made["label"]},
            "primaryObject": made.get("primaryObject", "CONTACT"),
            "customMatchingId": made.get("customMatchingId"),
            "properties": properties,
        }

    async def _list(self, request: Request) -> Response:
        sought = request.query_params.get("searchString", "")
        found = [self._shown(one) for name, one in self._definitions().items() if sought in name]
        if request.query_params.get("includeProperties") != "true":
            found = [{name: value for name, value in one.items() if name != "properties"} for one in found]
        return Answer({"results": found})

    async def _define(self, request: Request) -> Response:
        body = await json_body(request)
        name, label = str(body.get("name", "")), str(body.get("label", ""))
        if not NAME.fullmatch(name) or not 0 < len(label) <= 100:
            raise invalid(request, "name is 1 to 50 of a-z, 0-9, _ and - and begins with a letter, label has up to 100")
        if name in self._definitions():
            raise error(request, 409, "CONFLICT", f"Event definition {name} already exists")
        if len(self._definitions()) >= MOST_DEFINITIONS:
            raise error(request, 400, "EXCEEDED_CUSTOM_EVENT_LIMIT", "The account has its most event definitions")
        properties = body.get("propertyDefinitions") or []
        if len(properties) > MOST_PROPERTIES:
            raise invalid(request, f"An event has at most {MOST_PROPERTIES} properties of its own")
        for one in properties:
            self._check_property(request, one)
        self._made[name] = {**body, "propertyDefinitions": list(properties)}
        self.setup.missing = [one for one in self.setup.missing if one != name]
        return Answer(self._shown(self._made[name]), 201)

    async def _add(self, request: Request) -> Response:
        event = re.sub(r"^pe\d+_", "", request.path_params["event"])
        made = self._definitions().get(event)
        if made is None:
            raise error(request, 404, "OBJECT_NOT_FOUND", f"Event definition {event} not found")
        body = await json_body(request)
        self._check_property(request, body)
        if body["name"] in {one["name"] for one in made["propertyDefinitions"]}:
            raise error(request, 409, "CONFLICT", f"Property {body['name']} already exists")
        if len(made["propertyDefinitions"]) >= MOST_PROPERTIES:
            raise invalid(request, f"An event has at most {MOST_PROPERTIES} properties of its own")
        made["propertyDefinitions"].append(body)
        return Answer(body, 201)

    def _check_property(self, request: Request, given: Any) -> None:
        if not isinstance(given, dict) or not NAME.fullmatch(str(given.get("name", ""))):
            raise invalid(request, "a property's name is 1 to 50 of a-z, 0-9, _ and - and begins with a letter")
        if given.get("type") not in TYPES or not given.get("label"):
            raise invalid(request, f"a property has a label, and as type one of {', '.join(TYPES)}")

    # --- events

    async def _one(self, request: Request) -> Response:
        return self._take(request, [await json_body(request)])

    async def _batch(self, request: Request) -> Response:
        inputs = (await json_body(request)).get("inputs")
        if not isinstance(inputs, list) or not inputs or len(inputs) > MOST_EVENTS:
            raise invalid(request, f"inputs is a list of 1 to {MOST_EVENTS} events")
        return self._take(request, inputs)

    def _take(self, request: Request, events: Sequence[Any]) -> Response:
        known = {self._qualified(name): one for name, one in self._definitions().items()}
        for position, event in enumerate(events):
            for problem in _problems(event, known):
                raise invalid(request, f"inputs[{position}]: {problem}")
        self.inbox.received.extend(events)
        self.inbox.counted.extend(event for event in events if self._is_new(event))
        return Response(status_code=204)

    def _is_new(self, event: Json) -> bool:
        now = self._world.portal.now
        if event.get("uuid") is None:
            return True
        key = (event["eventName"], event["uuid"])
        if now - self._seen.get(key, -REMEMBERED) < REMEMBERED and key in self._seen:
            return False
        self._seen[key] = now
        return True


def _problems(event: Any, known: Mapping[str, Json]) -> Iterator[str]:
    """What is wrong with an event."""
    if not isinstance(event, dict):
        yield "is not an object"
        return
    defined = known.get(str(event.get("eventName")))
    if defined is None:
        yield f"event {event.get('eventName')} does not exist"
        return
    properties = event.get("properties")
    if not isinstance(properties, dict):
        yield "properties is required"
        return
    own = {one["name"] for one in defined["propertyDefinitions"]}
    if defined.get("includeDefaultProperties"):
        own |= DEFAULT
    for name, value in properties.items():
        if not isinstance(value, str):
            yield f"the value of {name} is no text"
        elif len(value) > (LONG if re.search("url|referrer|link", name) else SHORT):
            yield f"the value of {name} is too long"
        elif name not in own:
            yield f"property {name} does not exist"
    if event.get("email") is not None and not EMAIL.fullmatch(str(event["email"])):
        yield "email is invalid"
    matching = (defined.get("customMatchingId") or {}).get("primaryObjectRule", {}).get("eventPropertyName")
    if not (event.get("email") or event.get("objectId") or event.get("utk") or properties.get(matching)):
        yield "names no contact: email, utk, objectId or the custom matching id"
    if event.get("occurredAt") is not None:
        try:
            iso(to_ms(str(event["occurredAt"])))
        except ValueError:
            yield "occurredAt is no ISO 8601 timestamp"
