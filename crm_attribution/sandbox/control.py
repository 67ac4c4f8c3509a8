"""The sandbox's own path: `/_sandbox/calls`, `received/{platform}`, `browser/{platform}`, `setup/{platform}`, `clock`,
`faults`, `log`, `webhooks`, `oauth`, `limits`, `properties`.

Its calls are never counted, limited or hit by faults.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer, ApiError
from crm_attribution.sandbox.faults import FaultError, parse_faults
from crm_attribution.sandbox.hubspot.webhooks import Webhooks, parse_delivery
from crm_attribution.sandbox.instants import iso, to_ms
from crm_attribution.sandbox.platforms.base import Platform
from crm_attribution.sandbox.portal import ClockError, LogError, parse_lines
from crm_attribution.sandbox.portal.definitions import BadChange
from crm_attribution.sandbox.portal.kinds import KINDS, find_kind
from crm_attribution.sandbox.world import World

PREFIX = "/_sandbox"


def _bad(problem: object, status: int = 400) -> ApiError:
    return ApiError(status, {"error": str(problem)})


class Control:
    """What a test or a demo does to the sandbox."""

    def __init__(self, world: World, platforms: Sequence[Platform]) -> None:
        self._world = world
        self._platforms = {platform.name: platform for platform in platforms}
        self._webhooks = Webhooks(world)

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route(f"{PREFIX}/calls", self._calls, methods=["GET", "DELETE"]),
            Route(f"{PREFIX}/received/{{platform}}", self._received),
            Route(f"{PREFIX}/browser/{{platform}}", self._browser, methods=["POST"]),
            Route(f"{PREFIX}/setup/{{platform}}", self._setup, methods=["GET", "PUT"]),
            Route(f"{PREFIX}/clock", self._clock, methods=["GET", "PUT"]),
            Route(f"{PREFIX}/faults", self._faults, methods=["GET", "PUT", "DELETE"]),
            Route(f"{PREFIX}/log", self._log, methods=["POST"]),
            Route(f"{PREFIX}/oauth", self._oauth, methods=["GET", "PUT"]),
            Route(f"{PREFIX}/limits", self._limits, methods=["GET", "PUT"]),
            Route(f"{PREFIX}/properties", self._properties, methods=["PUT"]),
            Route(f"{PREFIX}/webhooks", self._due, methods=["GET", "POST", "DELETE"]),
        ]

    async def _calls(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._world.calls.clear()
        return Answer({"total": self._world.calls.total(), "routes": dict(sorted(self._world.calls.items()))})

    def _platform(self, request: Request) -> Platform:
        platform = self._platforms.get(request.path_params["platform"])
        if platform is None:
            raise _bad(f"no such platform; known are {', '.join(self._platforms)}", 404)
        return platform

    async def _setup(self, request: Request) -> Response:
        return await _changed(request, self._platform(request).setup)

    async def _received(self, request: Request) -> Response:
        inbox = self._platform(request).inbox
        return Answer(
            {
                "requests": inbox.requests,
                "received": inbox.received,
                "counted": inbox.counted,
                "accounts": dict(inbox.accounts),
            }
        )

    async def _browser(self, request: Request) -> Response:
        body = await _json(request)
        if not isinstance(body, dict) or set(body) != {"account", "action", "key"}:
            raise _bad('the body is {"account": …, "action": …, "key": …}')
        self._platform(request).browser(**{name: str(text) for name, text in body.items()})
        return Answer({})

    async def _clock(self, request: Request) -> Response:
        if request.method == "PUT":
            body = await _json(request)
            try:
                self._world.portal.advance(to_ms(body["now"]))
            except (KeyError, TypeError, AttributeError):
                raise _bad('the body is {"now": ISO 8601}') from None
            except (ClockError, LogError, ValueError) as problem:
                raise _bad(problem) from None
        return Answer({"now": iso(self._world.portal.now)})

    async def _faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._world.faults = []
        elif request.method == "PUT":
            try:
                self._world.faults = parse_faults(await _json(request))
            except FaultError as problem:
                raise _bad(problem) from None
        return Answer([fault.shown() for fault in self._world.faults])

    async def _log(self, request: Request) -> Response:
        """Lines as text, one JSON object each, or as a JSON list. Those that are due are applied at once."""
        text = (await request.body()).decode()
        try:
            listed = json.loads(text) if text.lstrip().startswith("[") else None
            lines = parse_lines(text.split("\n") if listed is None else [json.dumps(item) for item in listed])
            self._world.portal.append(lines)
        except (LogError, ValueError) as problem:
            raise _bad(problem) from None
        return Answer({"lines": len(lines)})

    async def _oauth(self, request: Request) -> Response:
        return await _changed(request, self._world.grants)

    async def _limits(self, request: Request) -> Response:
        return await _changed(request, self._world.limits)

    async def _properties(self, request: Request) -> Response:
        """Change the property definitions of one object type."""
        raw = await _json(request)
        kind = find_kind(str(raw.get("object"))) if isinstance(raw, dict) else None
        if kind is None:
            raise _bad(f"`object` is one of {', '.join(KINDS)}")
        properties = self._world.portal.stores[kind.name].properties
        unknown = set(raw) - {"object", "add", "rename", "retype", "remove"}
        try:
            if unknown:
                raise BadChange(f"`{min(unknown)}` is unknown; known are object, add, rename, retype, remove")
            properties.change(raw, iso(self._world.portal.now))
        except BadChange as problem:
            raise _bad(problem) from None
        return Answer({"properties": len(properties.names), "archived": sorted(properties.archived)})

    async def _due(self, request: Request) -> Response:
        """POST delivers, DELETE forgets what was not delivered, GET counts it."""
        if request.method == "GET":
            return Answer(self._webhooks.due)
        if request.method == "DELETE":
            self._webhooks.forget()
            return Answer(self._webhooks.due)
        raw = await _json(request)
        try:
            delivery = parse_delivery(raw)
        except (TypeError, AttributeError, ValueError) as problem:
            raise _bad(problem) from None
        return Answer(await self._webhooks.deliver(delivery))


class _Settings(Protocol):
    def change(self, raw: Any) -> None: ...
    def shown(self) -> dict[str, Any]: ...


async def _changed(request: Request, settings: _Settings) -> Response:
    """Settings as they are after a GET or PUT."""
    if request.method == "PUT":
        try:
            settings.change(await _json(request))
        except ValueError as problem:
            raise _bad(problem) from None
    return Answer(settings.shown())


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        raise _bad("the body is not JSON") from None
