"""HubSpot as one API: token, rate limits, refusals, routes.

Limits: https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines (Free/Starter: 100 calls in 10
seconds, 250,000 a day of the account's time zone; search has 5 a second of its own and answers without headers).
Retry-After is not documented and not sent. Queries of more than about 16,000 characters were seen to end in 414.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from crm_attribution.emulators.api import Answer, bearer, retry_headers
from crm_attribution.emulators.faults import Fault
from crm_attribution.emulators.hubspot import associations, marketing, objects, setup
from crm_attribution.emulators.hubspot.answers import refusal_body
from crm_attribution.emulators.limits import RollingWindow
from crm_attribution.emulators.world import World

TOKEN = "pat-na1-sandbox-7c1d2b3a-0000-4000-8000-5a4db0c0ffee"  # noqa: S105 - the sandbox's own
DAILY = 250_000
LONGEST_QUERY = 16_000


class HubSpot:
    """One account and one private-app token."""

    prefix = ""

    def __init__(self, world: World) -> None:
        self._world = world
        self._burst = RollingWindow(100, 10.0)
        self._association_burst = RollingWindow(100, 10.0)
        self._search = RollingWindow(5, 1.0)
        self._day: date | None = None
        self._used = 0

    def env(self, base_url: str) -> dict[str, str]:
        return {"HUBSPOT_BASE_URL": base_url, "HUBSPOT_ACCESS_TOKEN": TOKEN}

    def routes(self) -> Sequence[BaseRoute]:
        return [*associations.routes(), *objects.routes(), *setup.routes(), *marketing.routes()]

    def admit(self, request: Request) -> Response | None:
        if bearer(request) != TOKEN:
            return Answer(refusal_body(self._world, 401, None), 401)
        if len(request.scope["query_string"]) > LONGEST_QUERY:
            return Answer(refusal_body(self._world, 414, None), 414)
        if not self._world.limited:
            return None
        path = request.scope["path"]
        if path.endswith("/search"):
            return None if self._search.take() else self._too_many("SECONDLY")
        window = self._association_burst if path.startswith("/crm/associations") else self._burst
        if not self._within_day():
            return self._too_many("DAILY")
        taken = window.take()
        request.state.headers = {
            "X-HubSpot-RateLimit-Daily": str(DAILY),
            "X-HubSpot-RateLimit-Daily-Remaining": str(DAILY - self._used),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(window.most),
            "X-HubSpot-RateLimit-Remaining": str(window.remaining),
        }
        return None if taken else self._too_many("TEN_SECONDLY_ROLLING")

    def _within_day(self) -> bool:
        """Count a call of the account's day, by the sandbox's clock."""
        portal = self._world.portal
        today = datetime.fromtimestamp(portal.now / 1000, UTC).astimezone(ZoneInfo(portal.account["timeZone"])).date()
        if today != self._day:
            self._day, self._used = today, 0
        if self._used >= DAILY:
            return False
        self._used += 1
        return True

    def _too_many(self, policy: str) -> Response:
        return Answer(refusal_body(self._world, 429, None, policy), 429)

    def refusal(self, status: int, fault: Fault) -> Response:
        """A gateway's 502 and 504 come as a page, not as JSON."""
        if status in (502, 504):
            return Response(f"<html><body><h1>{status}</h1></body></html>", status, media_type="text/html")
        if status == 477:
            return Answer(refusal_body(self._world, status, fault), status, {"Retry-After": f"{fault.retry_after:g}"})
        return Answer(refusal_body(self._world, status, fault), status, retry_headers(fault))
