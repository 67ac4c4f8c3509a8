"""LinkedIn Conversions API: `POST /linkedin/rest/conversionEvents`, `GET /linkedin/rest/conversions/{id}` and
`GET /linkedin/rest/adAccounts/{id}`.

https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api, limits and whole-batch
422 answers as integrators report them. Versions live about a year; 202511 is gone. What LinkedIn does with two server
events of one eventId is not documented, so every event counts; not one whose eventId the ad account's Insight Tag told:
https://learn.microsoft.com/en-us/linkedin/marketing/integrations/conversions/deduplication. Every rule there is: those
whose id begins with 9 belong to the second ad account, the others to the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer, ApiError, bearer, retry_headers
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.instants import DAY
from crm_attribution.sandbox.platforms.base import Inbox, Setup
from crm_attribution.sandbox.world import World

Json = dict[str, Any]
TOKEN = "AQVsandboxLINKEDIN000000"  # noqa: S105 - the sandbox's own
ACCOUNT, FURTHER = "507404993", "507404994"
MOST_EVENTS = 5000
MAX_AGE = 90 * DAY
OLDEST_VERSION = 202512
ID_TYPES = (
    "SHA256_EMAIL",
    "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID",
    "ACXIOM_ID",
    "ORACLE_MOAT_ID",
    "PLAINTEXT_IP_ADDRESS",
    "SHA256_IP_ADDRESS",
    "GOOGLE_AID",
)


def create(world: World) -> LinkedIn:
    return LinkedIn(world)


def _user_problems(user: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(user, dict):
        yield "/user", "field is required but not found and has no default value"
        return
    ids = user.get("userIds")
    if not isinstance(ids, list):
        yield "/user/userIds", "field is required but not found and has no default value"
        return
    for position, item in enumerate(ids):
        kind = item.get("idType") if isinstance(item, dict) else None
        path = f"/user/userIds/{position}"
        if kind not in ID_TYPES:
            yield f"{path}/idType", f'"{kind}" is not an enum symbol'
        elif not isinstance(item.get("idValue"), str) or not item["idValue"]:
            yield f"{path}/idValue", "field is required but not found and has no default value"
        elif kind.startswith("SHA256_") and not re.fullmatch(r"[0-9a-f]{64}", item["idValue"]):
            yield f"{path}/idValue", "is not a SHA-256 hash in lower-case hex"
        elif not re.fullmatch(r"[\x21-\x7e]+", item["idValue"]):
            yield f"{path}/idValue", "has spaces or characters beyond ASCII"
    info = user.get("userInfo")
    if isinstance(info, dict) and not (info.get("firstName") and info.get("lastName")):
        yield "/user/userInfo", "firstName and lastName are both required"
    if not ids and not isinstance(info, dict) and not user.get("lead") and not user.get("externalIds"):
        yield "/user", "no identifier of the member is given"


def _problems(event: Any, now: int) -> Iterator[tuple[str, str]]:
    """(JSON path, reason) of everything wrong with an event."""
    if not isinstance(event, dict):
        yield "/", "is not an object"
        return
    if not re.fullmatch(r"urn:lla:llaPartnerConversion:\d+", str(event.get("conversion"))):
        yield "/conversion", "is not a urn:lla:llaPartnerConversion"
    moment = event.get("conversionHappenedAt")
    if isinstance(moment, bool) or not isinstance(moment, int):
        yield "/conversionHappenedAt", "is not a number of epoch milliseconds"
    elif moment < now - MAX_AGE:
        yield "/conversionHappenedAt", "is more than 90 days ago"
    elif moment > now + DAY:
        yield "/conversionHappenedAt", "is in the future"
    value = event.get("conversionValue")
    if value is not None:
        amount, currency = (value.get("amount"), value.get("currencyCode")) if isinstance(value, dict) else (None, None)
        if not isinstance(amount, str) or not re.fullmatch(r"\d+(\.\d+)?", amount):
            yield "/conversionValue/amount", "is not a decimal text"
        if not re.fullmatch(r"[A-Z]{3}", str(currency)):
            yield "/conversionValue/currencyCode", "is not an ISO 4217 currency"
    if event.get("eventId") is not None and not isinstance(event["eventId"], str):
        yield "/eventId", "is not a text"
    yield from _user_problems(event.get("user"))


class LinkedIn:
    """The conversion events of one token."""

    name = "linkedin"
    prefix = "/linkedin"

    def __init__(self, world: World) -> None:
        self._world = world
        self.inbox, self.setup = Inbox(), Setup()
        self._tag: set[tuple[str, str]] = set()

    def env(self, base_url: str) -> dict[str, str]:
        return {"LINKEDIN_BASE_URL": base_url + self.prefix, "LINKEDIN_ACCESS_TOKEN": TOKEN}

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/linkedin/rest/conversionEvents", self._events, methods=["POST"]),
            Route("/linkedin/rest/conversions/{id}", self._rule),
            Route("/linkedin/rest/adAccounts/{id}", self._account),
        ]

    def admit(self, request: Request) -> Response | None:
        if request.method == "POST":
            self.inbox.requests += 1
        if bearer(request) != TOKEN:
            body = {"status": 401, "serviceErrorCode": 65600, "code": "INVALID_ACCESS_TOKEN"}
            return Answer({**body, "message": "Invalid access token"}, 401)
        return self._version(request)

    def _version(self, request: Request) -> Response | None:
        version = request.headers.get("linkedin-version", "")
        if not re.fullmatch(r"20\d\d(0[1-9]|1[0-2])", version):
            message = "A version must be present. Please specify a version by adding the LinkedIn-Version header."
            return _error(400, "VERSION_MISSING", message).answer
        now = datetime.fromtimestamp(self._world.portal.now / 1000, UTC)
        months = now.year * 12 + now.month - 1 - 11
        oldest = max(OLDEST_VERSION, months // 12 * 100 + months % 12 + 1)
        if int(version) < oldest:
            return _error(426, "NONEXISTENT_VERSION", f"Requested version {version} is not active").answer
        if request.headers.get("x-restli-protocol-version") != "2.0.0":
            return _error(400, "ILLEGAL_ARGUMENT", "X-Restli-Protocol-Version 2.0.0 is required").answer
        return None

    def refusal(self, status: int, fault: Fault) -> Response:
        known = {
            401: ("EXPIRED_ACCESS_TOKEN", "The token used in the request has expired"),
            403: ("ACCESS_DENIED", "Not enough permissions to access: conversionEvents.BATCH_CREATE"),
            429: ("TOO_MANY_REQUESTS", "Resource level throttle limit for calls to this resource is reached."),
        }
        code, message = known.get(status, ("SERVICE_INTERNAL_ERROR", "Internal Server Error"))
        answer = _error(status, code, message).answer
        answer.headers.update(retry_headers(fault))
        return answer

    async def _rule(self, request: Request) -> Response:
        """https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversion-tracking"""
        number, account = request.path_params["id"], request.query_params.get("account")
        if account is None:
            raise _error(400, "PARAM_MISSING", "Parameter account is required")
        owner = _owner(number)
        if account != f"urn:li:sponsoredAccount:{owner}" or owner in self.setup.missing:
            raise _error(403, "ACCESS_DENIED", "Not enough permissions to access: conversions.GET")
        if not number.isdigit() or number in self.setup.missing:
            raise _error(404, "RESOURCE_NOT_FOUND", f"Conversion {number} not found")
        method = "INSIGHT_TAG" if number in self.setup.mistyped else "CONVERSIONS_API"
        return Answer(
            {
                "id": int(number),
                "account": account,
                "name": f"rule {number}",
                "type": "QUALIFIED_LEAD",
                "conversionMethod": method,
                "enabled": number not in self.setup.disabled,
            }
        )

    async def _account(self, request: Request) -> Response:
        """https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads/account-structure/create-and-manage-accounts"""
        number = request.path_params["id"]
        if number not in (ACCOUNT, FURTHER) or number in self.setup.missing:
            raise _error(404, "RESOURCE_NOT_FOUND", f"Ad account {number} not found")
        status = "CANCELED" if number in self.setup.disabled else "ACTIVE"
        return Answer({"id": int(number), "name": "sandbox", "type": "BUSINESS", "status": status, "currency": "EUR"})

    async def _events(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except ValueError:
            raise _error(400, "INVALID_JSON", "The body is not JSON") from None
        batch = isinstance(body, dict) and "elements" in body
        method = request.headers.get("x-restli-method", "")
        if batch != (method.upper() == "BATCH_CREATE"):
            raise _error(400, "ILLEGAL_ARGUMENT", "X-RestLi-Method BATCH_CREATE goes with a body of elements")
        events = body["elements"] if batch else [body]
        if not isinstance(events, list) or not events or len(events) > MOST_EVENTS:
            raise _error(400, "ILLEGAL_ARGUMENT", f"elements is a list of 1 to {MOST_EVENTS} events")
        self._check(events, batch)
        self.inbox.received.extend(events)
        for event in events:
            account = _owner(event["conversion"].rpartition(":")[2])
            if (account, str(event.get("eventId"))) not in self._tag:
                self.inbox.counted.append(event)
                self.inbox.accounts[account] += 1
        return Answer({"elements": [{"status": 201} for _ in events]}) if batch else Response(status_code=201)

    def browser(self, account: str, action: str, key: str) -> None:  # noqa: ARG002 - a rule of its own
        self._tag.add((account, key))

    def _check(self, events: list[Json], batch: bool) -> None:
        """One bad event refuses all; further errors of one event are separate lines."""
        lines: list[str] = []
        for position, event in enumerate(events):
            head = f"Index: {position}, " if batch else ""
            for path, reason in (*_problems(event, self._world.portal.now), *self._lacking(event)):
                lines.append(f"{head}ERROR :: {path} :: {reason}")
                head = ""
        if lines:
            raise _error(422, "INVALID_DATA", "\n".join(lines))

    def _lacking(self, event: Any) -> Iterator[tuple[str, str]]:
        rule = str(event.get("conversion")).rpartition(":")[2] if isinstance(event, dict) else ""
        if rule in (*self.setup.missing, *self.setup.mistyped):
            yield "/conversion", "is no conversion rule that takes events of the Conversions API"


def _owner(rule: str) -> str:
    return FURTHER if rule.startswith("9") else ACCOUNT


def _error(status: int, code: str, message: str) -> ApiError:
    return ApiError(status, {"status": status, "code": code, "message": message})
