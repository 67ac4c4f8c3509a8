"""Microsoft Advertising's Campaign Management API under `/microsoft/CampaignManagement/v13`:
`POST OfflineConversions/Apply`, `OfflineConversionAdjustments/Apply` and `ConversionGoals/QueryByIds`, and the token
endpoint `POST /microsoft/common/oauth2/v2.0/token`.

https://learn.microsoft.com/en-us/advertising/campaign-management-service/applyofflineconversions?view=bingads-13: 1,000
conversions a request; what is wrong with one is told by its index in PartialErrors, and the others are applied; of two
with the same click id, time and goal the first counts. Without a click id every one counts, since nothing else is
documented. Codes: https://learn.microsoft.com/en-us/advertising/guides/operation-error-codes?view=bingads-13; the HTTP
statuses of refusals are not documented. Each access token comes with a new refresh token; one lasts 90 days:
https://learn.microsoft.com/en-us/entra/identity-platform/refresh-tokens
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Answer, ApiError, bearer, retry_headers
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.instants import DAY
from crm_attribution.sandbox.platforms.base import Inbox, Setup
from crm_attribution.sandbox.world import World

Json = dict[str, Any]
CLIENT, SECRET, REFRESH, TOKEN = (
    "5b1f0c3e-sandbox",
    "Q~sandboxMICROSOFT",
    "M.C5_sandboxMICROSOFT",
    "EwBsandboxMICROSOFT",
)
DEVELOPER, CUSTOMER, ACCOUNT, FURTHER = "012SANDBOX345678", "16000001", "150000001", "150000002"
GOALS = ("Lead captured", "Qualified lead", "Opportunity created", "Customer won", "Customer expanded", "Purchase")
MOST, MAX_AGE, LONGEST_NAME = 1000, 90 * DAY, 100
REFRESH_AGE = 90 * DAY
SCOPE = "https://ads.microsoft.com/msads.manage"
API = "/microsoft/CampaignManagement/v13"
IDENTIFIERS = {"MicrosoftClickId", "HashedEmailAddress", "HashedPhoneNumber"}
CONVERSION = {"ConversionName", "ConversionTime", "ConversionValue", "ConversionCurrencyCode",
              "ExternalAttributionCredit", "ExternalAttributionModel", *IDENTIFIERS}  # fmt: skip
ADJUSTMENT = {"ConversionName", "ConversionTime", "AdjustmentType", "AdjustmentTime", "AdjustmentValue",
              "AdjustmentCurrencyCode", *IDENTIFIERS}  # fmt: skip
CODES = {
    "InternalError": 0, "InvalidCredentials": 105, "UserIsNotAuthorized": 106, "AuthenticationTokenExpired": 109,
    "CallRateExceeded": 117, "ApiInputValidationError": 201, "OfflineConversionsNullOrEmpty": 5600,
    "OfflineConversionsLimitExceeded": 5601, "OfflineConversionIsNull": 5602,
    "OfflineConversionMicrosoftClickIdNullOrEmpty": 5603, "OfflineConversionMicrosoftClickIdInvalid": 5604,
    "OfflineConversionNameNullOrEmpty": 5605, "OfflineConversionNameInvalid": 5606,
    "OfflineConversionTimeInvalid": 5607, "OfflineConversionTimeNullOrEmpty": 5608,
    "OfflineConversionTimeOutOfWindow": 5609, "OfflineConversionValueInvalid": 5610,
    "OfflineConversionCurrencyCodeInvalid": 5611, "FutureConversionTimeCannotBeSet": 5614,
    "OfflineConversionInvalidAdjustmentType": 5618, "OfflineConversionAdjustmentTimeNullOrEmpty": 5619,
    "OfflineConversionAdjustmentTimeEarlierThanConversionTime": 5620, "OfflineConversionAdjustmentTimeInvalid": 5621,
    "OfflineConversionFutureAdjustmentTimeCannotBeSet": 5622, "OfflineConversionAdjustmentValueNotExpected": 5624,
    "OfflineConversionAdjustmentValueRequired": 5625,
}  # fmt: skip
"""Of hashed addresses that are none the number is not documented."""


def create(world: World) -> Microsoft:
    return Microsoft(world)


class Microsoft:
    """Two ad accounts of one customer."""

    name = "microsoft"
    prefix = "/microsoft"

    def __init__(self, world: World) -> None:
        self._world = world
        self._refresh: dict[str, int] = {REFRESH: world.portal.now}
        self._known: dict[tuple[str, ...], Json] = {}
        self.inbox, self.setup = Inbox(), Setup()

    def env(self, base_url: str) -> dict[str, str]:
        address = base_url + self.prefix
        return {
            "MICROSOFT_ADS_BASE_URL": address,
            "MICROSOFT_ADS_TOKEN_URL": address,
            "MICROSOFT_ADS_CLIENT_ID": CLIENT,
            "MICROSOFT_ADS_CLIENT_SECRET": SECRET,
            "MICROSOFT_ADS_REFRESH_TOKEN": REFRESH,
            "MICROSOFT_ADS_DEVELOPER_TOKEN": DEVELOPER,
            "MICROSOFT_ADS_CUSTOMER_ID": CUSTOMER,
            "MICROSOFT_ADS_ACCOUNT_ID": ACCOUNT,
        }

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/microsoft/common/oauth2/v2.0/token", self._token, methods=["POST"]),
            Route(f"{API}/ConversionGoals/QueryByIds", self._goals, methods=["POST"]),
            Route(f"{API}/OfflineConversions/Apply", self._conversions, methods=["POST"]),
            Route(f"{API}/OfflineConversionAdjustments/Apply", self._adjustments, methods=["POST"]),
        ]

    def admit(self, request: Request) -> Response | None:
        if request.url.path.endswith("/token"):
            return None
        if request.url.path.endswith("/Apply"):
            self.inbox.requests += 1
        if bearer(request) != TOKEN or request.headers.get("developertoken") != DEVELOPER:
            return self._fault(401, "InvalidCredentials").answer
        account = request.headers.get("customeraccountid")
        known = request.headers.get("customerid") == CUSTOMER and account in (ACCOUNT, FURTHER)
        if not known or account in self.setup.missing:
            return self._fault(403, "UserIsNotAuthorized").answer
        return None

    def browser(self, account: str, action: str, key: str) -> None:
        """Nothing of ours is told by a browser there."""

    def refusal(self, status: int, fault: Fault) -> Response:
        known = {401: "AuthenticationTokenExpired", 403: "UserIsNotAuthorized", 429: "CallRateExceeded"}
        answer = self._fault(status, known.get(status, "InternalError")).answer
        answer.headers.update(retry_headers(fault))
        return answer

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return Answer({"error": "invalid_client", "error_description": "AADSTS7000215"}, 401)
        scopes = form.get("scope", "").split()
        issued = self._refresh.get(form.get("refresh_token", ""))
        if form.get("grant_type") != "refresh_token" or issued is None or SCOPE not in scopes:
            return Answer({"error": "invalid_grant", "error_description": "AADSTS70000"}, 400)
        if issued < self._world.portal.now - REFRESH_AGE:
            return Answer({"error": "invalid_grant", "error_description": "AADSTS700082"}, 400)
        renewed = f"{REFRESH}-{len(self._refresh)}"
        self._refresh[renewed] = self._world.portal.now
        told = {"token_type": "Bearer", "scope": SCOPE, "expires_in": 3599, "ext_expires_in": 3599}
        return Answer({**told, "access_token": TOKEN, "refresh_token": renewed})

    async def _goals(self, request: Request) -> Response:
        """https://learn.microsoft.com/en-us/advertising/campaign-management-service/getconversiongoalsbyids?view=bingads-13"""
        body = json.loads(await request.body())
        if not isinstance(body, dict) or body.get("ConversionGoalTypes") != "OfflineConversion":
            raise self._fault(400, "ApiInputValidationError")
        goals = [
            {
                "Id": str(900 + number),
                "Name": name,
                "Status": "Paused" if name in self.setup.disabled else "Active",
                "Type": "OfflineConversion",
                "IsEnhancedConversionsEnabled": True,
            }
            for number, name in enumerate(GOALS)
            if name not in (*self.setup.missing, *self.setup.mistyped)
        ]
        return Answer({"ConversionGoals": goals, "PartialErrors": []})

    async def _conversions(self, request: Request) -> Response:
        events, errors = await self._read(request, "OfflineConversions", _conversion_problems)
        account = request.headers["customeraccountid"]
        for event in _without(events, errors):
            self.inbox.received.append(event)
            key = _key(account, event)
            if key is not None and key in self._known:
                continue
            counted = dict(event)
            self.inbox.counted.append(counted)
            self.inbox.accounts[account] += 1
            if key is not None:
                self._known[key] = counted
        return Answer({"PartialErrors": errors})

    async def _adjustments(self, request: Request) -> Response:
        """Of a conversion that is not known nothing is documented: nothing happens."""
        events, errors = await self._read(request, "OfflineConversionAdjustments", _adjustment_problems)
        for event in _without(events, errors):
            self.inbox.received.append(event)
            found = self._original(request.headers["customeraccountid"], event)
            if found is None:
                continue
            if event["AdjustmentType"] == "Retract":
                self.inbox.counted = [one for one in self.inbox.counted if one is not found]
                self.inbox.accounts[request.headers["customeraccountid"]] -= 1
            else:
                found["ConversionValue"] = event["AdjustmentValue"]
                if event.get("AdjustmentCurrencyCode"):
                    found["ConversionCurrencyCode"] = event["AdjustmentCurrencyCode"]
        return Answer({"PartialErrors": errors})

    def _original(self, account: str, event: Json) -> Json | None:
        key = _key(account, event)
        if key is not None:
            return next((one for one in self.inbox.counted if one is self._known.get(key)), None)
        named = ("ConversionName", "ConversionTime", "HashedEmailAddress", "HashedPhoneNumber")
        wanted = [event.get(name) for name in named]
        return next((one for one in self.inbox.counted if [one.get(name) for name in named] == wanted), None)

    async def _read(
        self, request: Request, name: str, problems: Callable[[Json, int], Iterator[str]]
    ) -> tuple[list[Any], list[Json]]:
        """The list of a request, and one error for each of its entries that has a problem."""
        try:
            body = json.loads(await request.body())
        except ValueError:
            raise self._fault(400, "ApiInputValidationError") from None
        events = body.get(name) if isinstance(body, dict) and set(body) == {name} else None
        if not isinstance(events, list) or not events:
            raise self._fault(400, "OfflineConversionsNullOrEmpty", of="OperationErrors")
        if len(events) > MOST:
            raise self._fault(400, "OfflineConversionsLimitExceeded", of="OperationErrors")
        errors: list[Json] = []
        for place, event in enumerate(events):
            given = event if isinstance(event, dict) else {}
            codes = list(problems(given, self._world.portal.now)) if given else ["OfflineConversionIsNull"]
            if given.get("ConversionName") in (*self.setup.missing, *self.setup.mistyped):
                codes.append("OfflineConversionNameInvalid")
            if codes:
                errors.append({**_error(codes[0]), "FieldPath": None, "Index": place, "Type": "BatchError"})
        return events, errors

    def _fault(self, status: int, code: str, of: str = "Errors") -> ApiError:
        kind = "AdApiFaultDetail" if of == "Errors" else "ApiFaultDetail"
        detail = "Detail" if of == "Errors" else "Details"
        error = {name: value for name, value in _error(code).items() if name != "Details"}
        return ApiError(status, {of: [{**error, detail: None}], "TrackingId": self._world.trace_id(), "Type": kind})


def _without(events: Sequence[Json], errors: Sequence[Json]) -> list[Json]:
    bad = {error["Index"] for error in errors}
    return [event for place, event in enumerate(events) if place not in bad]


def _key(account: str, event: Json) -> tuple[str, ...] | None:
    """What Microsoft tells conversions apart by; None without a click id."""
    click_id = event.get("MicrosoftClickId")
    return (account, click_id, event["ConversionTime"], event["ConversionName"]) if click_id else None


def _error(code: str) -> Json:
    return {"Code": CODES.get(code, 5699), "Details": None, "ErrorCode": code, "Message": f"The call fails: {code}."}


def _conversion_problems(event: Json, now: int) -> Iterator[str]:
    yield from _named_problems(event, CONVERSION, now)
    yield from _value_problems(event.get("ConversionValue"), event.get("ConversionCurrencyCode"))


def _adjustment_problems(event: Json, now: int) -> Iterator[str]:
    yield from _named_problems(event, ADJUSTMENT, now)
    kind, value, time = event.get("AdjustmentType"), event.get("AdjustmentValue"), event.get("AdjustmentTime")
    if kind not in ("Restate", "Retract"):
        yield "OfflineConversionInvalidAdjustmentType"
    elif value is None and kind == "Restate":
        yield "OfflineConversionAdjustmentValueRequired"
    elif value is not None and kind == "Retract":
        yield "OfflineConversionAdjustmentValueNotExpected"
    yield from _value_problems(value, event.get("AdjustmentCurrencyCode"))
    if not time:
        yield "OfflineConversionAdjustmentTimeNullOrEmpty"
    elif _millis(time) < 0:
        yield "OfflineConversionAdjustmentTimeInvalid"
    elif _millis(time) > now:
        yield "OfflineConversionFutureAdjustmentTimeCannotBeSet"
    elif _millis(time) <= _millis(event.get("ConversionTime")):
        yield "OfflineConversionAdjustmentTimeEarlierThanConversionTime"


def _named_problems(event: Json, known: set[str], now: int) -> Iterator[str]:
    """Goal, time and identifiers, which conversions and adjustments have alike."""
    if not set(event) <= known:
        yield "ApiInputValidationError"
    goal, time = event.get("ConversionName"), event.get("ConversionTime")
    if not goal:
        yield "OfflineConversionNameNullOrEmpty"
    elif not isinstance(goal, str) or len(goal) > LONGEST_NAME:
        yield "OfflineConversionNameInvalid"
    if not time:
        yield "OfflineConversionTimeNullOrEmpty"
    elif _millis(time) < 0:
        yield "OfflineConversionTimeInvalid"
    elif _millis(time) < now - MAX_AGE:
        yield "OfflineConversionTimeOutOfWindow"
    elif _millis(time) > now:
        yield "FutureConversionTimeCannotBeSet"
    click_id = event.get("MicrosoftClickId")
    hashes = {name: event.get(name) for name in sorted(IDENTIFIERS - {"MicrosoftClickId"})}
    if not click_id and not any(hashes.values()):
        yield "OfflineConversionMicrosoftClickIdNullOrEmpty"
    if click_id and not re.fullmatch(r"[A-Za-z0-9_.~=-]{5,}", str(click_id)):
        yield "OfflineConversionMicrosoftClickIdInvalid"
    for name, value in hashes.items():
        if value is not None and not re.fullmatch(r"[0-9a-f]{64}", str(value)):
            yield f"Conversion{name.removeprefix('Hashed')}IsNotHashed"


def _value_problems(value: Any, currency: Any) -> Iterator[str]:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
        yield "OfflineConversionValueInvalid"
    if currency is not None and not re.fullmatch(r"[A-Z]{3}", str(currency)):
        yield "OfflineConversionCurrencyCodeInvalid"


def _millis(text: Any) -> int:
    """A UTC time as epoch milliseconds; -1 where it is none."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z", text):
        return -1
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)
