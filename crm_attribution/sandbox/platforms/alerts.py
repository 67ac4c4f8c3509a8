"""A webhook as Slack has it: `POST /alerts/services/…`, one message in a request; `counted` are its attachments.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. It answers in plain words: `ok`,
`invalid_payload`, `no_text`, `invalid_attachments`, and `no_service` where the address is not known. It recognises no
message that it had before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import retry_headers
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.platforms.base import Inbox, Setup
from crm_attribution.sandbox.world import World

SECRET, FURTHER = "T0SANDBOX/B0SANDBOX/sandboxonlyword", "T0SANDBOX/B1SANDBOX/sandboxotherword"
MOST = 100


def create(world: World) -> Alerts:
    del world
    return Alerts()


class Alerts:
    """The channel behind a webhook."""

    name = "alerts"
    prefix = "/alerts"

    def __init__(self) -> None:
        self.inbox, self.setup = Inbox(), Setup()

    def env(self, base_url: str) -> dict[str, str]:
        address = f"{base_url}{self.prefix}/services/{SECRET}"
        return {"ALERT_WEBHOOK_URL": address, "ALERT_WEBHOOK_BASE_URL": base_url + self.prefix}

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/alerts/services/{address:path}", self._post, methods=["POST"])]

    def admit(self, request: Request) -> Response | None:
        self.inbox.requests += 1
        if request.url.path.partition("/services/")[2] not in (SECRET, FURTHER):
            return PlainTextResponse("no_service", 404)
        return None

    def browser(self, account: str, action: str, key: str) -> None:
        """Nothing of ours is told by a browser there."""

    def refusal(self, status: int, fault: Fault) -> Response:
        words = {401: "invalid_token", 403: "action_prohibited", 429: "rate_limited"}
        return PlainTextResponse(words.get(status, "server_error"), status, retry_headers(fault))

    async def _post(self, request: Request) -> Response:
        try:
            message: Any = json.loads(await request.body())
        except ValueError:
            return PlainTextResponse("invalid_payload", 400)
        if not isinstance(message, dict):
            return PlainTextResponse("invalid_payload", 400)
        attachments = message.get("attachments") or []
        if not message.get("text") and not attachments:
            return PlainTextResponse("no_text", 400)
        if len(attachments) > MOST or not all(_is_attachment(one) for one in attachments):
            return PlainTextResponse("invalid_attachments", 400)
        self.inbox.received.extend(attachments)
        self.inbox.counted.extend(attachments)
        return PlainTextResponse("ok")


def _is_attachment(one: Any) -> bool:
    return isinstance(one, dict) and bool(re.fullmatch(r"#[0-9a-fA-F]{6}", str(one.get("color"))))
