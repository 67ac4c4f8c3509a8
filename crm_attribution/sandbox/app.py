"""The application: every call is counted, may be hit by a fault, is admitted by its API, and then routed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_attribution.sandbox import control, paths
from crm_attribution.sandbox.api import Answer, Api, ApiError
from crm_attribution.sandbox.clicks import ClickApi
from crm_attribution.sandbox.faults import ROW_FAULTS, Fault, spoil_rows
from crm_attribution.sandbox.hubspot.api import HubSpot
from crm_attribution.sandbox.platforms import create_all
from crm_attribution.sandbox.world import World


class Gate:
    """Stands before the routes."""

    def __init__(self, app: ASGIApp, world: World, apis: Sequence[Api]) -> None:
        self._app, self._world = app, world
        self._apis = sorted(apis, key=lambda api: -len(api.prefix))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(control.PREFIX):
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        route = paths.folded(path)
        self._world.calls[f"{method} {route}"] += 1
        version, bare = paths.plain(path)
        api = next(api for api in self._apis if path.startswith(api.prefix))
        scope["path"], scope["raw_path"] = bare, bare.encode()
        scope["state"] = {**scope.get("state", {}), "version": version, "asked": path, "headers": {}}
        fault = self._strike(scope, method, (path, route))
        if fault is None:
            await self._serve(api, scope, receive, send)
        else:
            await self._suffer(fault, api, scope, receive, send)

    def _strike(self, scope: Scope, method: str, spellings: tuple[str, ...]) -> Fault | None:
        """The first fault that hits this call; a lagging index goes along with any other."""
        for fault in self._world.faults:
            if not fault.strikes(method, spellings):
                continue
            if fault.kind != "index_lag":
                return fault
            scope["state"]["index_lag"] = fault.seconds
        return None

    async def _serve(self, api: Api, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        refused = api.admit(request)
        headers = scope["state"]["headers"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await (refused or self._app)(scope, receive, send_with_headers)

    async def _suffer(self, fault: Fault, api: Api, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.status is not None:
            await api.refusal(fault.status, fault)(scope, receive, send)
        elif fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            await self._serve(api, scope, receive, send)
        elif fault.kind == "drop":
            await _drop(scope)
        else:
            await self._spoil(fault, scope, await self._applied(api, scope, receive), receive, send)

    async def _applied(self, api: Api, scope: Scope, receive: Receive) -> Response:
        """The answer of a call that was applied, held back."""
        held = Response()
        parts: list[bytes] = []

        async def hold(message: Message) -> None:
            if message["type"] == "http.response.start":
                held.status_code, held.raw_headers = message["status"], list(message["headers"])
            else:
                parts.append(message.get("body", b""))

        await self._serve(api, scope, receive, hold)
        held.body = b"".join(parts)
        return held

    async def _spoil(self, fault: Fault, scope: Scope, held: Response, receive: Receive, send: Send) -> None:
        if fault.kind == "drop_after_accept":
            await _drop(scope)
            return
        if fault.kind == "timeout_after_accept":
            await asyncio.sleep(fault.seconds)
        elif fault.kind in ROW_FAULTS:
            held.body = spoil_rows(bytes(held.body), fault)
            held.headers["content-length"] = str(len(held.body))
        else:
            held.body = held.body[: len(held.body) // 2]
            held.headers["content-length"] = str(len(held.body))
        await held(scope, receive, send)


async def _drop(scope: Scope) -> None:
    """Close the connection under the client's feet; the server put the transport into the scope."""
    scope["state"]["transport"].abort()
    await asyncio.sleep(0)


async def _api_error(_: Request, error: Exception) -> Response:
    if isinstance(error, ApiError):
        return error.answer
    raise error


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Answer({"status": "error", "message": f"no route for {request.method} {request.url.path}"}, status)


def build(world: World) -> tuple[Starlette, list[Api]]:
    """The application and the APIs it serves."""
    platforms = create_all(world)
    apis: list[Api] = [HubSpot(world), ClickApi(world), *platforms]
    routes = [*control.Control(world, platforms).routes(), *(route for api in reversed(apis) for route in api.routes())]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Gate, world=world, apis=apis)],
        exception_handlers={ApiError: _api_error, HTTPException: _no_route},
    )
    app.state.world = world
    return app, apis
