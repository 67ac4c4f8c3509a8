"""Meta Conversions API: `POST /meta/v{N}.0/{DATASET}/events`, and the dataset itself, `GET /meta/v{N}.0/{DATASET}`.

https://developers.facebook.com/documentation/ads-commerce/conversions-api/using-the-api: 1,000 events, any invalid one
rejects the whole request, 7 days of age (62 for physical_store). Dedupe by event_name and event_id within 48 hours:
https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/server-event/ (documented between browser
and server; assumed between two server events). Error codes as integrators report them; of the subcodes only 2804003
(too old) is reported, the others here stand for "bad parameter". That an event more than a minute ahead is refused is
an integrator's rule too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer, ApiError, bearer, retry_headers
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.instants import DAY, HOUR, SECOND
from crm_attribution.sandbox.platforms.base import Inbox, Setup
from crm_attribution.sandbox.world import World

Json = dict[str, Any]
TOKEN = "EAAsandboxMETA0000000000"  # noqa: S105 - the sandbox's own
DATASET, FURTHER = "1234567890123456", "2234567890123456"
MOST_EVENTS = 1000
DEDUPE = 48 * HOUR
MAX_AGE, MAX_AGE_STORE, MAX_AHEAD = 7 * DAY, 62 * DAY, 60 * SECOND
TOO_OLD, IN_FUTURE, NO_CUSTOMER, BAD_PARAMETER = 2804003, 2804004, 2804050, 2804000
HASHED = ("em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country")
PLAIN = ("external_id", "fbc", "fbp", "lead_id", "subscription_id", "fb_login_id", "madid", "anon_id")
ACTION_SOURCES = (
    "email",
    "website",
    "app",
    "phone_call",
    "chat",
    "physical_store",
    "system_generated",
    "business_messaging",
    "other",
)


class _Invalid(ValueError):
    """An event breaks a rule: subcode and what is wrong."""

    def __init__(self, subcode: int, problem: str) -> None:
        super().__init__(problem)
        self.subcode = subcode


def create(world: World) -> Meta:
    return Meta(world)


def _check_user(user: Any) -> None:
    if not isinstance(user, dict):
        raise _Invalid(NO_CUSTOMER, "user_data is required")
    for name in HASHED:
        values = user.get(name)
        for value in values if isinstance(values, list) else [values]:
            if value is not None and not re.fullmatch(r"[0-9a-f]{64}", str(value)):
                raise _Invalid(BAD_PARAMETER, f"user_data.{name} is not a SHA-256 hash in lower-case hex")
    fbc = user.get("fbc")
    if fbc is not None and not re.fullmatch(r"fb\.[0-2]\.\d{10,13}\.[A-Za-z0-9_.~=-]+", str(fbc)):
        raise _Invalid(BAD_PARAMETER, "user_data.fbc is not fb.<subdomain>.<time>.<fbclid>")
    lead = user.get("lead_id")
    if lead is not None and not re.fullmatch(r"\d{15,17}", str(lead)):
        raise _Invalid(BAD_PARAMETER, "user_data.lead_id is not a lead id")
    web = user.get("client_ip_address") and user.get("client_user_agent")
    if not web and not any(user.get(name) for name in (*HASHED, *PLAIN)):
        raise _Invalid(NO_CUSTOMER, "user_data carries no customer information parameter")


def _check_value(event: Json) -> None:
    custom = event.get("custom_data")
    if custom is not None and not isinstance(custom, dict):
        raise _Invalid(BAD_PARAMETER, "custom_data is not an object")
    custom = custom or {}
    value, currency = custom.get("value"), custom.get("currency")
    if event["event_name"] == "Purchase" and (value is None or currency is None):
        raise _Invalid(BAD_PARAMETER, "a Purchase needs custom_data.value and custom_data.currency")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _Invalid(BAD_PARAMETER, "custom_data.value is not a number")
    if value is not None and not re.fullmatch(r"[A-Za-z]{3}", str(currency)):
        raise _Invalid(BAD_PARAMETER, "custom_data.value goes with an ISO 4217 currency")


def _check(event: Any, now: int) -> None:
    if not isinstance(event, dict):
        raise _Invalid(BAD_PARAMETER, "an event is an object")
    if not isinstance(event.get("event_name"), str) or not event["event_name"]:
        raise _Invalid(BAD_PARAMETER, "event_name is required")
    if event.get("action_source") not in ACTION_SOURCES:
        raise _Invalid(BAD_PARAMETER, "action_source is required and one of the known ones")
    moment = event.get("event_time")
    if isinstance(moment, bool) or not isinstance(moment, int):
        raise _Invalid(BAD_PARAMETER, "event_time is required, in whole unix seconds")
    oldest = MAX_AGE_STORE if event["action_source"] == "physical_store" else MAX_AGE
    if moment * SECOND < now - oldest:
        raise _Invalid(TOO_OLD, f"event_time is more than {oldest // DAY} days ago")
    if moment * SECOND > now + MAX_AHEAD:
        raise _Invalid(IN_FUTURE, "event_time is in the future")
    _check_user(event.get("user_data"))
    _check_value(event)


class Meta:
    """Two datasets of one business."""

    name = "meta"
    prefix = "/meta"

    def __init__(self, world: World) -> None:
        self._world = world
        self.inbox, self.setup = Inbox(), Setup()
        self._first: dict[tuple[str, str, str], int] = {}

    def env(self, base_url: str) -> dict[str, str]:
        return {"META_BASE_URL": base_url + self.prefix, "META_ACCESS_TOKEN": TOKEN, "META_DATASET_ID": DATASET}

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/meta/v{version:int}.0/{dataset}/events", self._events, methods=["POST"]),
            Route("/meta/v{version:int}.0/dataset_quality", self._quality),
            Route("/meta/v{version:int}.0/{dataset}", self._dataset),
        ]

    def admit(self, request: Request) -> Response | None:  # noqa: ARG002 - the token may stand in the body
        return None

    def _error(self, status: int, code: int, message: str, subcode: int | None = None, **extra: Any) -> ApiError:
        kind = "OAuthException" if code in (1, 2, 4, 100, 190, 200) else "GraphMethodException"
        error: Json = {"message": message, "type": kind, "code": code, **extra}
        if subcode is not None:
            error["error_subcode"] = subcode
        return ApiError(status, {"error": {**error, "fbtrace_id": self._trace()}})

    def _trace(self) -> str:
        return "A" + self._world.trace_id().replace("-", "")[:22]

    def refusal(self, status: int, fault: Fault) -> Response:
        known = {
            401: (190, "Error validating access token: Session has expired"),
            403: (200, "(#200) Requires ads_management permission"),
            429: (80004, "There have been too many calls to this ad-account. Wait a bit and try again."),
        }
        code, message = known.get(status, (2, "Service temporarily unavailable"))
        answer = self._error(status, code, message, is_transient=status == 429 or status >= 500).answer
        answer.headers.update(retry_headers(fault))
        return answer

    async def _body(self, request: Request) -> Json:
        """JSON, or a form whose `data` is JSON; the token may stand in either, in the query or in the header."""
        raw = await request.body()
        try:
            if "form" in request.headers.get("content-type", ""):
                form = dict(parse_qsl(raw.decode()))
                return {**form, "data": json.loads(form.get("data", "null"))}
            body = json.loads(raw)
        except ValueError:
            raise self._error(400, 100, "(#100) The body is not JSON", BAD_PARAMETER) from None
        return body if isinstance(body, dict) else {}

    def _check_access(self, request: Request, given: Any) -> None:
        token = given or request.query_params.get("access_token") or bearer(request)
        if token != TOKEN:
            raise self._error(400, 190, "Invalid OAuth access token - Cannot parse access token")
        dataset = request.path_params["dataset"]
        if dataset not in (DATASET, FURTHER) or dataset in self.setup.missing:
            problem = "does not exist, cannot be loaded due to missing permissions, or does not support this operation"
            asked = f"Unsupported {request.method.lower()} request."
            raise self._error(400, 100, f"{asked} Object with ID '{dataset}' {problem}", 33)

    async def _dataset(self, request: Request) -> Response:
        """https://developers.facebook.com/docs/marketing-api/reference/ads-pixel"""
        self._check_access(request, None)
        dataset = request.path_params["dataset"]
        row = {"id": dataset, "name": "sandbox", "is_unavailable": dataset in self.setup.disabled}
        wanted = {"id", *request.query_params.get("fields", "").split(",")}
        return Answer({name: value for name, value in row.items() if name in wanted})

    async def _quality(self, request: Request) -> Response:
        """https://developers.facebook.com/docs/marketing-api/conversions-api/dataset-quality-api: how well people are
        found, by event name; not every token may read it."""
        request.path_params["dataset"] = request.query_params.get("dataset_id", "")
        self._check_access(request, None)
        if "dataset_quality" in self.setup.missing:
            raise self._error(403, 200, "(#200) Requires ads_read permission")
        names = sorted({event["event_name"] for event in self.inbox.counted})
        return Answer(
            {"web": [{"event_name": name, "event_match_quality": self._match_quality(name)} for name in names]}
        )

    def _match_quality(self, name: str) -> Json:
        events = [event for event in self.inbox.counted if event["event_name"] == name]
        keys = {"email": "em", "phone": "ph", "fb_click_id": "fbc"}
        shares = {key: sum(of in one["user_data"] for one in events) / len(events) for key, of in keys.items()}
        feedback = [
            {"identifier": key, "coverage": {"percentage": round(100 * share)}} for key, share in shares.items()
        ]
        return {"composite_score": round(10 * sum(shares.values()) / len(shares), 1), "match_key_feedback": feedback}

    async def _events(self, request: Request) -> Response:
        self.inbox.requests += 1
        body = await self._body(request)
        self._check_access(request, body.get("access_token"))
        events = self._checked(body.get("data"))
        self._count(request.path_params["dataset"], events)
        return Answer({"events_received": len(events), "messages": [], "fbtrace_id": self._trace()})

    def _checked(self, events: Any) -> list[Json]:
        if not isinstance(events, list) or not events:
            raise self._error(400, 100, "(#100) The parameter data is required.")
        if len(events) > MOST_EVENTS:
            raise self._error(400, 100, f"(#100) At most {MOST_EVENTS} events are allowed.", BAD_PARAMETER)
        for position, event in enumerate(events):
            try:
                _check(event, self._world.portal.now)
            except _Invalid as problem:
                detail = f"data[{position}]: {problem}"
                raise self._error(
                    400,
                    100,
                    "Invalid parameter",
                    problem.subcode,
                    is_transient=False,
                    error_user_title="Invalid event",
                    error_user_msg=detail,
                ) from None
        return events

    def browser(self, account: str, action: str, key: str) -> None:
        self._first[account, action, key] = self._world.portal.now

    def _count(self, dataset: str, events: list[Json]) -> None:
        now = self._world.portal.now
        for event in events:
            self.inbox.received.append(event)
            key = (dataset, event["event_name"], str(event.get("event_id") or ""))
            if key[2] and now - self._first.get(key, -(2**62)) < DEDUPE:
                continue
            self._first[key] = now
            self.inbox.counted.append(event)
            self.inbox.accounts[dataset] += 1
