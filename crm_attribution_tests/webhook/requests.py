"""Requests to the receiver's application, straight into ASGI: any bytes as headers, any cut of the body."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crm_attribution.clock import FixedClock, to_millis
from crm_attribution.configuration import load
from crm_attribution.hubspot.signature import sign
from crm_attribution.webhook.app import build
from crm_attribution.webhook.inbox import Inbox
from crm_attribution.webhook.settings import receiver

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRET = "5f1c2f3e-0000-4000-8000-abcdefabcdef"
TOKEN = "ingest-token-of-the-tests"
URL = "https://hooks.example.org/webhooks/hubspot"
ENVIRONMENT = {
    "HUBSPOT_WEBHOOK_SECRET": SECRET,
    "HUBSPOT_WEBHOOK_URL": URL,
    "CRM_ATTRIBUTION_INGEST_TOKEN": TOKEN,
    "CRM_ATTRIBUTION_WEBHOOK_BODY_LIMIT": "200000",
}
BEARER = (b"authorization", b"Bearer " + TOKEN.encode())

Header = tuple[bytes, bytes]


def signature(body: bytes, now: datetime = NOW, url: str = URL) -> list[Header]:
    """The headers HubSpot would send with a body."""
    stamp = str(to_millis(now))
    value = sign("v3", SECRET, method="POST", uri=url, body=body, timestamp=stamp)
    return [(b"x-hubspot-signature-v3", value.encode()), (b"x-hubspot-request-timestamp", stamp.encode())]


@dataclass
class Posted:
    """What the application answered."""

    status: int = 0
    body: bytes = b""
    headers: Sequence[Header] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class App:
    """The application on an inbox of the test's own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))

    def __post_init__(self) -> None:
        inbox, wishes = Inbox(self.folder), Inbox(self.wishes)
        inbox.prepare()
        wishes.prepare()
        self.asgi = build(receiver(load(self.environment)), inbox, wishes, FixedClock(NOW))

    @property
    def wishes(self) -> Path:
        """Where wishes to replay are kept."""
        return self.folder.with_name(f"{self.folder.name}-replay")

    async def send(
        self,
        path: str,
        parts: Iterable[bytes],
        headers: Sequence[Header] = (),
        *,
        method: str = "POST",
        ends: bool = True,
    ) -> Posted:
        """One request; `ends=False` hangs up after the parts."""
        messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        messages.append({"type": "http.request", "body": b""} if ends else {"type": "http.disconnect"})
        answer = Posted()

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def take(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], message["headers"]
            else:
                answer.body += message.get("body", b"")

        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
        scope |= {"headers": list(headers), "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}
        await self.asgi(scope, receive, take)
        return answer

    def files(self) -> list[dict[str, Any]]:
        """The deliveries on disk, in the order of their names."""
        return [json.loads(path.read_bytes()) for path in sorted(self.folder.glob("*.json"))]
