"""Google's Data Manager API: `POST /google/v1/events:ingest`, `GET /google/v1/requestStatus:retrieve`, and the token
endpoint `POST /google/token`.

https://developers.google.com/data-manager/api/reference/rest/v1/events/ingest: 2,000 events and 10 destinations a
request; any event that breaks a rule of form refuses the whole request; an accepted one is processed later, and asked
for with https://developers.google.com/data-manager/api/reference/rest/v1/requestStatus/retrieve, which tells per
destination how many events failed for which reason. A transactionId that comes again restates the value:
https://developers.google.com/data-manager/api/devguides/events/google-ads/conversion-adjustments. That a transactionId
of digits alone is refused is an integrator's report, that one event has one click id at most the older API's rule; how
long processing takes is not said, half an hour here.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer, ApiError, bearer, retry_headers
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.instants import DAY, MINUTE_MS
from crm_attribution.sandbox.platforms.base import Inbox, Setup
from crm_attribution.sandbox.world import World

Json = dict[str, Any]
CUSTOMER, FURTHER = "4815162342", "4815162343"
CLIENT = "sandbox.apps.googleusercontent.com"
SECRET, REFRESH, TOKEN = "GOCSPX-sandbox", "1//sandboxGOOGLE", "ya29.sandboxGOOGLE"
MOST_EVENTS, MOST_DESTINATIONS, MOST_IDENTIFIERS = 2000, 10, 10
MAX_AGE, PROCESSING = 90 * DAY, 30 * MINUTE_MS
SOURCES = ("WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER")
CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
         429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}  # fmt: skip
REQUEST = {"destinations", "events", "consent", "validateOnly", "encoding", "encryptionInfo"}
DESTINATION = {"reference", "operatingAccount", "loginAccount", "linkedAccount", "productDestinationId"}
EVENT = {
    "destinationReferences", "transactionId", "eventTimestamp", "lastUpdatedTimestamp", "userData", "consent",
    "adIdentifiers", "currency", "conversionValue", "conversionCount", "eventSource", "eventDeviceInfo", "cartData",
    "customVariables", "experimentalFields", "userProperties",
}  # fmt: skip
CLICKS = ("gclid", "gbraid", "wbraid")
AD_IDENTIFIERS = {"sessionAttributes", "gclid", "gbraid", "wbraid", "landingPageDeviceInfo"}

SCOPE = "https://www.googleapis.com/auth/datamanager"
_OF_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
"""What stands before a SHA-256 in a signature: https://www.rfc-editor.org/rfc/rfc8017#section-9.2"""

Problem = tuple[str, str]
"""Field and reason."""


def create(world: World) -> Google:
    return Google(world)


@dataclass(frozen=True)
class _Taken:
    """A request that was accepted: when, its destinations, and per destination reference what failed."""

    at: int
    destinations: list[Json]
    rows: Counter[str]
    errors: dict[str, Counter[str]]


class Google:
    """Two Google Ads accounts that one user reaches."""

    name = "google"
    prefix = "/google"

    def __init__(self, world: World) -> None:
        self._world = world
        self._taken: dict[str, _Taken] = {}
        self._known: dict[tuple[str, str, str], Json] = {}
        self.inbox, self.setup = Inbox(), Setup()

    def env(self, base_url: str) -> dict[str, str]:
        address = base_url + self.prefix
        return {
            "GOOGLE_BASE_URL": address,
            "GOOGLE_TOKEN_URL": address,
            "GOOGLE_ADS_CUSTOMER_ID": CUSTOMER,
            "GOOGLE_CLIENT_ID": CLIENT,
            "GOOGLE_CLIENT_SECRET": SECRET,
            "GOOGLE_REFRESH_TOKEN": REFRESH,
        }

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/google/token", self._token, methods=["POST"]),
            Route("/google/v1/events:ingest", self._ingest, methods=["POST"]),
            Route("/google/v1/requestStatus:retrieve", self._status, methods=["GET"]),
        ]

    def admit(self, request: Request) -> Response | None:
        if request.url.path == "/google/token":
            return None
        if request.url.path == "/google/v1/events:ingest":
            self.inbox.requests += 1
        if bearer(request) != TOKEN:
            return _error(401, "Request had invalid authentication credentials.").answer
        return None

    def browser(self, account: str, action: str, key: str) -> None:
        """Nothing of ours is told by a browser there."""

    def refusal(self, status: int, fault: Fault) -> Response:
        answer = _error(status, "The service refuses this call.").answer
        answer.headers.update(retry_headers(fault))
        return answer

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if form.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return self._by_key(form.get("assertion", ""))
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return Answer({"error": "invalid_client", "error_description": "The OAuth client was not found."}, 401)
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != REFRESH:
            return Answer({"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, 400)
        return Answer({"access_token": TOKEN, "expires_in": 3599, "scope": SCOPE, "token_type": "Bearer"})

    def _by_key(self, assertion: str) -> Response:
        """https://developers.google.com/identity/protocols/oauth2/service-account#httprest; its times are real ones,
        which the sandbox does not know."""
        head, _, signature = assertion.rpartition(".")
        try:
            header, claims = (json.loads(_decoded(part)) for part in head.split("."))
            signed = any(_is_signed(head.encode(), _decoded(signature), int(key, 16)) for key in self.setup.keys)
            good = signed and header["alg"] == "RS256" and claims["exp"] - claims["iat"] <= 3600
            good = (
                good
                and claims["scope"] == SCOPE
                and claims["aud"] == "https://oauth2.googleapis.com/token"
                and bool(claims["iss"])
            )
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            return Answer({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        return Answer({"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"})

    async def _ingest(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except ValueError:
            raise _error(400, "Invalid JSON payload received.") from None
        problems = list(_problems(body))
        if not problems and {_account(one) for one in body["destinations"]} & {*self.setup.missing}:
            raise _error(403, "The caller does not have permission")
        problems = problems or list(_lacking(body, self.setup))
        if problems:
            raise _error(400, "There was a problem with the request.", problems)
        number = self._world.trace_id()
        if body.get("validateOnly") is not True:
            self._taken[number] = self._count(body)
        warnings = list(_warnings(body))
        return Answer({"requestId": number, **({"fieldWarnings": warnings} if warnings else {})})

    def _count(self, body: Json) -> _Taken:
        """What becomes of each event, told later: a transactionId known to its action restates the value."""
        now = self._world.portal.now
        actions = {one["reference"]: one["productDestinationId"] for one in body["destinations"]}
        accounts = {one["reference"]: _account(one) for one in body["destinations"]}
        taken = _Taken(now, body["destinations"], Counter(), {reference: Counter() for reference in actions})
        for event in body["events"]:
            self.inbox.received.append(event)
            for reference in event["destinationReferences"]:
                taken.rows[reference] += 1
                reason = _refusal(event, body, now)
                if reason is not None:
                    taken.errors[reference][reason] += 1
                    continue
                key = (accounts[reference], actions[reference], event["transactionId"])
                if key not in self._known:
                    self._known[key] = {**event, "productDestinationId": actions[reference]}
                    self.inbox.counted.append(self._known[key])
                    self.inbox.accounts[accounts[reference]] += 1
                self._known[key].update(
                    {name: event[name] for name in ("conversionValue", "currency") if name in event}
                )
        return taken

    async def _status(self, request: Request) -> Response:
        taken = self._taken.get(request.query_params.get("requestId", ""))
        if taken is None:
            raise _error(404, "Requested entity was not found.")
        done = self._world.portal.now >= taken.at + PROCESSING
        return Answer({"requestStatusPerDestination": [self._of(one, taken, done) for one in taken.destinations]})

    def _of(self, destination: Json, taken: _Taken, done: bool) -> Json:
        reference = destination["reference"]
        rows, errors = taken.rows[reference], taken.errors[reference]
        counted = {"destination": destination, "eventsIngestionStatus": {"recordCount": str(rows)}}
        if not done:
            return {**counted, "requestStatus": "PROCESSING"}
        if not errors:
            return {**counted, "requestStatus": "SUCCESS"}
        counts = [
            {"reason": f"PROCESSING_ERROR_REASON_{reason}", "recordCount": str(count)}
            for reason, count in sorted(errors.items())
        ]
        end = "FAILED" if errors.total() == rows else "PARTIAL_SUCCESS"
        return {**counted, "requestStatus": end, "errorInfo": {"errorCounts": counts}}


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_signed(content: bytes, signature: bytes, modulus: int) -> bool:
    """RSASSA-PKCS1-v1_5: https://www.rfc-editor.org/rfc/rfc8017#section-8.2.2"""
    size = (modulus.bit_length() + 7) // 8
    told = pow(int.from_bytes(signature), 65537, modulus).to_bytes(size)
    tail = _OF_SHA256 + hashlib.sha256(content).digest()
    return told == b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail


def _account(destination: Json) -> str:
    return str(destination["operatingAccount"]["accountId"])


def _refusal(event: Json, body: Json, now: int) -> str | None:
    """Why an event is not counted although its form is right."""
    if _millis(event["eventTimestamp"]) < now - MAX_AGE:
        return "EVENT_TOO_OLD"
    consent = event.get("consent") or body.get("consent") or {}
    given = [consent.get("adUserData"), consent.get("adPersonalization")]
    if "CONSENT_DENIED" in given:
        return "DENIED_CONSENT"
    if given != ["CONSENT_GRANTED", "CONSENT_GRANTED"]:
        return "NO_CONSENT"
    clicks = {name: text for name, text in (event.get("adIdentifiers") or {}).items() if name in CLICKS}
    bad = [name for name, text in clicks.items() if not re.fullmatch(r"[A-Za-z0-9_.~-]{5,}", text)]
    if bad:
        return f"INVALID_{bad[0].upper()}"
    return "INVALID_AD_IDENTIFIERS" if len(clicks) > 1 else None


def _problems(body: Any) -> Iterator[Problem]:
    if not isinstance(body, dict):
        yield "", "is not an object"
        return
    yield from _unknown("", body, REQUEST)
    destinations, events = body.get("destinations"), body.get("events")
    if not isinstance(destinations, list) or not 1 <= len(destinations) <= MOST_DESTINATIONS:
        yield "destinations", "REQUIRED_FIELD_MISSING"
        return
    for place, destination in enumerate(destinations):
        yield from _destination_problems(f"destinations[{place}]", destination)
    if not isinstance(events, list) or not events:
        yield "events", "REQUIRED_FIELD_MISSING"
        return
    if len(events) > MOST_EVENTS:
        yield "events", "TOO_MANY_EVENTS"
        return
    references = {one.get("reference") for one in destinations if isinstance(one, dict)}
    for place, event in enumerate(events):
        yield from _event_problems(f"events[{place}]", event, references, body.get("encoding"))


def _warnings(body: Json) -> Iterator[Json]:
    """What is wrong in a field that is not needed: https://developers.google.com/data-manager/api/reference (v1.8)"""
    for place, event in enumerate(body["events"]):
        if event.get("conversionValue") == 0:
            field = f"events[{place}].conversion_value"
            yield {"field": field, "description": "the value is 0", "reason": "WARNING_REASON_INVALID_VALUE"}


def _lacking(body: Json, setup: Setup) -> Iterator[Problem]:
    """https://developers.google.com/data-manager/api/reference/rpc/google.ads.datamanager.v1#errorreason"""
    for place, destination in enumerate(body["destinations"]):
        action = destination["productDestinationId"]
        if action in setup.missing:
            yield f"destinations[{place}].product_destination_id", "INVALID_CONVERSION_ACTION_ID"
        elif action in setup.mistyped:
            yield f"destinations[{place}].product_destination_id", "INVALID_CONVERSION_ACTION_TYPE"


def _destination_problems(at: str, destination: Any) -> Iterator[Problem]:
    if not isinstance(destination, dict):
        yield at, "REQUIRED_FIELD_MISSING"
        return
    yield from _unknown(at, destination, DESTINATION)
    account = destination.get("operatingAccount")
    given = (account.get("accountType"), account.get("accountId")) if isinstance(account, dict) else None
    if given not in (("GOOGLE_ADS", CUSTOMER), ("GOOGLE_ADS", FURTHER)):
        yield f"{at}.operating_account", "DESTINATION_ACCOUNT_INVALID"
    if not re.fullmatch(r"\d+", str(destination.get("productDestinationId"))):
        yield f"{at}.product_destination_id", "INVALID_PRODUCT_DESTINATION_ID"


def _event_problems(at: str, event: Any, references: set[Any], encoding: Any) -> Iterator[Problem]:
    if not isinstance(event, dict):
        yield at, "REQUIRED_FIELD_MISSING"
        return
    yield from _unknown(at, event, EVENT)
    named = event.get("destinationReferences")
    if not isinstance(named, list) or not named or not set(named) <= references:
        yield f"{at}.destination_references", "INVALID_DESTINATION_REFERENCE"
    if not isinstance(event.get("transactionId"), str) or re.fullmatch(r"\d*", event["transactionId"]):
        yield f"{at}.transaction_id", "INVALID_TRANSACTION_ID"
    if _millis(event.get("eventTimestamp")) < 0:
        yield f"{at}.event_timestamp", "REQUIRED_FIELD_MISSING"
    if event.get("eventSource") not in SOURCES:
        yield f"{at}.event_source", "REQUIRED_FIELD_MISSING"
    value, currency = event.get("conversionValue"), event.get("currency")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield f"{at}.conversion_value", "INVALID_FORMAT"
    if value is not None and not re.fullmatch(r"[A-Z]{3}", str(currency)):
        yield f"{at}.currency", "INVALID_CURRENCY_CODE"
    ad, user = event.get("adIdentifiers"), event.get("userData")
    if isinstance(ad, dict):
        yield from _unknown(f"{at}.ad_identifiers", ad, AD_IDENTIFIERS)
    if user is not None:
        yield from _user_problems(f"{at}.user_data", user, encoding)
    if not ad and not user:
        yield at, "NO_IDENTIFIERS_PROVIDED"


def _user_problems(at: str, user: Any, encoding: Any) -> Iterator[Problem]:
    identifiers = user.get("userIdentifiers") if isinstance(user, dict) else None
    if not isinstance(identifiers, list) or not 1 <= len(identifiers) <= MOST_IDENTIFIERS:
        yield f"{at}.user_identifiers", "REQUIRED_FIELD_MISSING"
        return
    if encoding != "HEX":
        yield "encoding", "REQUIRED_FIELD_MISSING"
    for place, one in enumerate(identifiers):
        field = f"{at}.user_identifiers[{place}]"
        if not isinstance(one, dict) or len(one) != 1 or not set(one) <= {"emailAddress", "phoneNumber", "address"}:
            yield field, "INVALID_USER_IDENTIFIER"
        elif "address" not in one and not re.fullmatch(r"[0-9a-fA-F]{64}", str(next(iter(one.values())))):
            yield field, "INVALID_HEX_ENCODING"


def _unknown(at: str, given: Json, known: set[str]) -> Iterator[Problem]:
    for name in sorted(set(given) - known):
        yield f"{at}.{name}".strip("."), "UNKNOWN_FIELD"


def _millis(text: Any) -> int:
    """An RFC 3339 time as epoch milliseconds; -1 where it is none."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text):
        return -1
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def _error(status: int, message: str, problems: Sequence[Problem] = ()) -> ApiError:
    """google.rpc.Status, https://cloud.google.com/apis/design/errors"""
    details: list[Json] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "INVALID_ARGUMENT" if problems else CODES.get(status, "UNKNOWN"),
            "domain": "datamanager.googleapis.com",
        }
    ]
    if problems:
        violations = [
            {
                "field": f"events.{field}" if field.startswith("events[") else field,
                "description": reason,
                "reason": reason,
            }
            for field, reason in problems
        ]
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations})
    body = {"error": {"code": status, "message": message, "status": CODES.get(status, "UNKNOWN"), "details": details}}
    return ApiError(status, body)
