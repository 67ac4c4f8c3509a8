"""What an emulated API offers the program, and how JSON is read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from crm_attribution.sandbox.faults import Fault

Json = dict[str, Any]


class Answer(Response):
    """Compact JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


class ApiError(Exception):
    """Ends a request with an answer."""

    def __init__(self, status: int, body: Json, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.answer = Answer(body, status, headers)


class Api(Protocol):
    """One emulated API.

    Attributes:
        prefix: the paths it answers start so; the longest one wins.
    """

    prefix: str

    def env(self, base_url: str) -> dict[str, str]:
        """The variables that point a client at it."""
        ...

    def routes(self) -> Sequence[BaseRoute]: ...

    def admit(self, request: Request) -> Response | None:
        """The refusal of a call that may not pass (token, rate limit), None when it may."""
        ...

    def refusal(self, status: int, fault: Fault) -> Response:
        """The answer with which the API refuses a call with this status."""
        ...


def bearer(request: Request) -> str | None:
    """The bearer token of a request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def retry_headers(fault: Fault) -> dict[str, str]:
    """Retry-After of a 429 fault, unless it goes without."""
    return {"Retry-After": f"{fault.retry_after:g}"} if fault.kind == "429" else {}
