"""The ASGI application: verify, write one file, answer. It opens no database and waits only for the disk.

`POST /webhooks/hubspot` takes HubSpot's signed deliveries, `POST /ingest/crm` what a workflow posts with our token,
`POST /v1/replay` conversions to send again, whose answer `GET /v1/replay/{id}` gives; `GET /health` says whether it
runs. 200 and 202 mean: it is on disk. 503 means: send it again, it is not.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_attribution.clock import Clock
from crm_attribution.errors import CrmAttributionError
from crm_attribution.hubspot import signature
from crm_attribution.webhook import replay
from crm_attribution.webhook.inbox import Inbox
from crm_attribution.webhook.ingest import problems
from crm_attribution.webhook.settings import ReceiverSettings

log = logging.getLogger(__name__)

READ_SECONDS = 10.0
"""For a whole body. HubSpot itself gives up after five."""

BODIES = 64
"""Largest bodies that are held in memory together: requests are limited by it, not connections."""

HUBSPOT, INGEST, HEALTH = "/webhooks/hubspot", "/ingest/crm", "/health"
REPLAY = "/v1/replay"


class Refusal(Exception):
    """An answer other than 200, with nothing kept."""

    def __init__(self, status: int, error: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.content = {"error": error, **({"fields": fields} if fields else {})}


@dataclass
class Receiver:
    """The routes, with what they need. `held` is how many bytes of bodies are in memory."""

    given: ReceiverSettings
    inbox: Inbox
    clock: Clock
    wishes: Inbox
    held: int = 0

    async def hubspot(self, request: Request) -> Response:
        """A delivery of HubSpot's: every delivery with a valid signature is kept, also unknown and unreadable ones."""
        if not self.given.takes_hubspot:
            raise Refusal(503, "HUBSPOT_WEBHOOK_SECRET is not set")
        now = await self._now()
        try:
            claimed = signature.claim(request.scope["headers"], self.given.signatures, now)
        except signature.SignatureRefused as error:
            raise Refusal(401, str(error)) from None
        async with self._body(request) as body:
            if not signature.matches(claimed, self.given.secrets, method=request.method, uri=self.given.url, body=body):
                raise Refusal(401, "the signature does not match")
            await self._put(self.inbox, "hubspot", body)
            return JSONResponse({"status": "kept"})

    async def ingest(self, request: Request) -> Response:
        """A workflow's post. What is malformed is sent back with the names of the fields: its author can mend it."""
        if not self.given.tokens:
            raise Refusal(503, "CRM_ATTRIBUTION_INGEST_TOKEN is not set")
        self._authorized(request, self.given.tokens)
        async with self._body(request) as body:
            if wrong := problems(body):
                raise Refusal(400, "malformed", wrong)
            await self._put(self.inbox, "ingest", body)
            return JSONResponse({"status": "kept"})

    async def replay(self, request: Request) -> Response:
        """Conversions to send again: queued for the next hourly run, which answers."""
        self._may_replay(request)
        async with self._body(request) as body:
            if wrong := replay.problems(body):
                raise Refusal(400, "malformed", wrong)
            name = (await self._put(self.wishes, "replay", body)).stem
        return JSONResponse({"ok": True, "status": "queued", "id": name}, 202, {"Location": f"{REPLAY}/{name}"})

    async def replayed(self, request: Request) -> Response:
        """What became of them."""
        self._may_replay(request)
        found = await run_in_threadpool(replay.answer_of, self.wishes, request.path_params["name"])
        if found is None:
            raise Refusal(404, "no such wish")
        return Response(found[1], found[0], media_type="application/json")

    def _may_replay(self, request: Request) -> None:
        if not self.given.replay_tokens:
            raise Refusal(503, "CRM_ATTRIBUTION_REPLAY_TOKEN is not set")
        self._authorized(request, self.given.replay_tokens)

    async def health(self, _request: Request) -> Response:
        """Which routes are on."""
        on = {"ingest": bool(self.given.tokens), "replay": bool(self.given.replay_tokens)}
        return JSONResponse({"status": "ok", "hubspot": self.given.takes_hubspot, **on})

    async def _put(self, inbox: Inbox, kind: str, body: bytes) -> Path:
        try:
            return await run_in_threadpool(inbox.put, kind, body, await self._now())
        except OSError as error:
            log.error("the inbox cannot be written: %s", error.strerror)
            raise Refusal(503, "the inbox cannot be written") from None

    async def _now(self) -> datetime:
        """The sandbox's clock is asked over HTTP."""
        try:
            return await run_in_threadpool(self.clock.now)
        except CrmAttributionError as error:
            log.error("the clock cannot be read: %s", error)
            raise Refusal(503, "the clock cannot be read") from None

    @asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """The raw body, given up as soon as it is too large or too slow, or all bodies together are too many."""
        limit, parts, size = self.given.body_limit, [], 0
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
            raise Refusal(413, "the body is too large")
        try:
            async with asyncio.timeout(READ_SECONDS):
                async for part in request.stream():
                    size += len(part)
                    self.held += len(part)
                    if size > limit:
                        raise Refusal(413, "the body is too large")
                    if self.held > BODIES * limit:
                        raise Refusal(503, "too many deliveries at a time")
                    parts.append(part)
            yield b"".join(parts)
        except TimeoutError:
            raise Refusal(408, "the body came too slowly") from None
        except ClientDisconnect:
            raise Refusal(400, "the body ended early") from None
        finally:
            self.held -= size

    def _authorized(self, request: Request, tokens: tuple[str, ...]) -> None:
        sent = [value for name, value in request.scope["headers"] if name == b"authorization"]
        scheme, _, token = sent[0].partition(b" ") if len(sent) == 1 else (b"", b"", b"")
        known = [hmac.compare_digest(token.strip(), valid.encode()) for valid in tokens]
        if scheme.lower() != b"bearer" or not any(known):
            raise Refusal(401, "the bearer token is missing or wrong")


def _answering(route: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await route(request)
        except Refusal as refusal:
            return JSONResponse(refusal.content, refusal.status)

    return answer


class _Log:
    """One line per request: route, status, milliseconds. Never a query, a header or a path of the sender's making."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = monotonic(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            known = (HUBSPOT, INGEST, REPLAY, HEALTH)
            asked = REPLAY if scope["path"].startswith(f"{REPLAY}/") else scope["path"]
            path = asked if asked in known else "another path"
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "another method"
            log.info("%s %s %d %.0f ms", method, path, status, 1000 * (monotonic() - began))


def build(given: ReceiverSettings, inbox: Inbox, wishes: Inbox, clock: Clock) -> ASGIApp:
    """The application; without a secret or token its route answers 503, so that the sender tries again later."""
    receiver = Receiver(given, inbox, clock, wishes)
    routes = [
        Route(HUBSPOT, _answering(receiver.hubspot), methods=["POST"]),
        Route(INGEST, _answering(receiver.ingest), methods=["POST"]),
        Route(REPLAY, _answering(receiver.replay), methods=["POST"]),
        Route(f"{REPLAY}/{{name}}", _answering(receiver.replayed), methods=["GET"]),
        Route(HEALTH, _answering(receiver.health), methods=["GET"]),
    ]
    return _Log(Starlette(routes=routes))
