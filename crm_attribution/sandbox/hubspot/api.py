"""HubSpot as one API: token, rate limits, refusals, routes.

Search answers without rate-limit headers, and an OAuth app has no daily ones. Retry-After is not documented and not
sent. Queries of more than about 16,000 characters were seen to end in 414.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from crm_attribution.sandbox.api import Answer, bearer, retry_headers
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.grants import PRIVATE_TOKEN as TOKEN
from crm_attribution.sandbox.hubspot import associations, marketing, oauth, objects, setup
from crm_attribution.sandbox.hubspot.answers import expired_body, refusal_body, unscoped_body
from crm_attribution.sandbox.hubspot.scopes import scope_of
from crm_attribution.sandbox.world import World

LONGEST_QUERY = 16_000


class HubSpot:
    """One account, one private-app token and one OAuth app."""

    prefix = ""

    def __init__(self, world: World) -> None:
        self._world = world

    def env(self, base_url: str) -> dict[str, str]:
        return {"HUBSPOT_BASE_URL": base_url, "HUBSPOT_ACCESS_TOKEN": TOKEN}

    def routes(self) -> Sequence[BaseRoute]:
        areas = (oauth, associations, objects, setup, marketing)
        return [route for area in areas for route in area.routes()]

    def admit(self, request: Request) -> Response | None:
        if request.scope["path"].startswith(oauth.PREFIX):
            return None
        token = bearer(request)
        refused = None if token == TOKEN else self._app_token(token or "")
        if refused is None and len(request.scope["query_string"]) > LONGEST_QUERY:
            refused = Answer(refusal_body(self._world, 414, None), 414)
        return refused or self._limit(request, private=token == TOKEN) or self._unscoped(request)

    def _unscoped(self, request: Request) -> Response | None:
        scope = scope_of(request.scope["path"])
        if scope not in self._world.grants.without:
            return None
        return Answer(unscoped_body(self._world, scope), 403)

    def _app_token(self, token: str) -> Response | None:
        """The refusal of an OAuth access token that is unknown or too old."""
        expiry = self._world.grants.expiry(token)
        if expiry is None:
            return Answer(refusal_body(self._world, 401, None), 401)
        return Answer(expired_body(self._world, expiry), 401) if expiry <= self._world.portal.now else None

    def _limit(self, request: Request, *, private: bool) -> Response | None:
        """Count a call. The day is of the private apps; a search has a window of its own and no headers."""
        limits, portal = self._world.limits, self._world.portal
        if private and not limits.day.take(portal.now, portal.account["timeZone"], hold=limits.on):
            return self._too_many("DAILY")
        if not limits.on:
            return None
        path = request.scope["path"]
        if path.endswith("/search"):
            return None if limits.search.take() else self._too_many("SECONDLY")
        window = limits.burst if private else limits.oauth
        if path.startswith("/crm/associations"):
            window = limits.associations
        taken = window.take()
        request.state.headers = {
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(window.most),
            "X-HubSpot-RateLimit-Remaining": str(window.remaining),
        }
        if private:
            request.state.headers["X-HubSpot-RateLimit-Daily"] = str(limits.day.most)
            request.state.headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(limits.day.remaining)
        return None if taken else self._too_many("TEN_SECONDLY_ROLLING")

    def _too_many(self, policy: str) -> Response:
        return Answer(refusal_body(self._world, 429, None, policy), 429)

    def refusal(self, status: int, fault: Fault) -> Response:
        """A gateway's 502, 504 and 524 come as a page, not as JSON."""
        if status in (502, 504, 524):
            return Response(f"<html><body><h1>{status}</h1></body></html>", status, media_type="text/html")
        if status == 477:
            return Answer(refusal_body(self._world, status, fault), status, {"Retry-After": f"{fault.retry_after:g}"})
        return Answer(refusal_body(self._world, status, fault), status, retry_headers(fault))
