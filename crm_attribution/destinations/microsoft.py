"""Microsoft Advertising offline conversions by the Campaign Management API.

https://learn.microsoft.com/en-us/advertising/campaign-management-service/applyofflineconversions?view=bingads-13, and
https://learn.microsoft.com/en-us/advertising/campaign-management-service/applyofflineconversionadjustments?view=bingads-13
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from crm_attribution.clock import iso
from crm_attribution.destinations.base import (
    Answer,
    ApiVersion,
    Asked,
    Destination,
    Finding,
    Grant,
    Json,
    Limits,
    Outcome,
    Question,
    Ready,
    Request,
    Verdict,
    all_rows,
    plain_http,
    refused,
    retry_after,
    told_by_status,
    without_error,
)
from crm_attribution.destinations.normalise import microsoft_hash
from crm_attribution.identifiers import normalise_click_id, sha256
from crm_attribution.money import to_json_number
from crm_attribution.settings import Setting, secret, text

SCOPE = "https://ads.microsoft.com/msads.manage offline_access"
TOKEN_URL = "https://login.microsoftonline.com"  # noqa: S105 - an address
API = "/CampaignManagement/v13"

_GOAL_NAME = re.compile(r"\S(.{0,98}\S)?")
_ADJUSTMENTS = {"restatement": "Restate", "retraction": "Retract"}

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,79}")
"""https://learn.microsoft.com/en-us/advertising/guides/operation-error-codes?view=bingads-13"""
_TOO_OLD = frozenset({"OfflineConversionTimeOutOfWindow", "OfflineConversionAdjustmentTimeOutOfWindow"})
_LATER = frozenset({"OfflineConversionNotAcceptedForGoal", "OfflineConversionGoalTooRecent",
                    "FutureConversionTimeCannotBeSet", "OfflineConversionFutureAdjustmentTimeCannotBeSet"})  # fmt: skip
"""A goal younger than two hours, a clock that lags behind ours."""
_UNSURE = frozenset({"InternalError", "OfflineConversionsApplyFailed"})
_THROTTLED = frozenset({"CallRateExceeded", "ConcurrentRequestOverLimit"})
_SETUP = re.compile(r"NameInvalid|NotEligible|NotEnabled|NotSupported|NotAuthorized|ExternalAttribution")
"""Codes that name the goal or the account, not a conversion: nobody's row is lost to them."""
_OF_ROWS = re.compile(r"OfflineConversion|ConversionTime|IsNotHashed|ClickId|InvalidDate|InputValidation|^Null")
_MISSING = "missing"
_STRONGEST: Sequence[Verdict] = ("uncertain", "rejected", "stopped", "transient")


class Microsoft(Destination):
    """The offline conversion goals of an ad account. `action` is the name of a goal, as it is spelt there.

    A request has no field for our key: Microsoft tells conversions apart by click id, time and goal, and counts the
    first (`_time`). What it does with two of one hashed address and no click id is not documented, so an event that may
    have been applied is never sent again by itself.
    """

    name: ClassVar[str] = "microsoft"
    settings: ClassVar[Sequence[Setting[str]]] = (
        text(
            "MICROSOFT_ADS_CLIENT_ID",
            "OAuth client: an app registration",
            where="Microsoft Entra admin center > App registrations > the app > Application (client) ID",
            required=True,
        ),
        secret(
            "MICROSOFT_ADS_CLIENT_SECRET",
            "secret of that app, where it is a web app; a native app has none",
            where="Microsoft Entra admin center > App registrations > the app > Certificates & secrets",
        ),
        secret(
            "MICROSOFT_ADS_REFRESH_TOKEN",
            f"refresh token of a user of the account, granted with the scope {SCOPE}; what Microsoft renews it with is"
            " kept in the data directory, and used",
            where="the OAuth consent of that app: https://learn.microsoft.com/en-us/advertising/guides/authentication-oauth-get-tokens",
            required=True,
        ),
        secret(
            "MICROSOFT_ADS_DEVELOPER_TOKEN",
            "developer token of the API",
            where="https://developers.ads.microsoft.com/Account, signed in as a super admin",
            required=True,
        ),
        text(
            "MICROSOFT_ADS_CUSTOMER_ID",
            "the manager account (customer) by which the user reaches the ad account",
            where="Microsoft Advertising: `cid` in the address, a number",
            required=True,
        ),
        text(
            "MICROSOFT_ADS_ACCOUNT_ID",
            "the ad account that owns the conversion goals",
            where="Microsoft Advertising: `aid` in the address, a number, not the account number with letters",
            required=True,
        ),
        text(
            "MICROSOFT_ADS_TOKEN_URL",
            f"where access tokens are asked for, for a proxy or the sandbox ({TOKEN_URL})",
            where="only where Microsoft's own address cannot be reached",
        ),
    )
    account_setting: ClassVar[str] = "MICROSOFT_ADS_ACCOUNT_ID"
    base_url: ClassVar[str] = "https://campaign.api.bingads.microsoft.com"
    base_url_setting: ClassVar[str] = "MICROSOFT_ADS_BASE_URL"
    credential: ClassVar[str] = "MICROSOFT_ADS_REFRESH_TOKEN"
    click_id: ClassVar[str | None] = "msclkid"
    key_field: ClassVar[str | None] = None
    kinds: ClassVar[frozenset[str]] = frozenset({"conversion", *_ADJUSTMENTS})
    example_action: ClassVar[str] = "Customer won"
    limits: ClassVar[Limits] = Limits(batch=1000, max_age=timedelta(days=90), dedupe=None, one_kind=True)
    version: ClassVar[ApiVersion | None] = ApiVersion(
        "Microsoft Advertising Campaign Management API",
        "v13",
        None,
        "https://learn.microsoft.com/en-us/advertising/guides/release-notes",
    )
    documentation: ClassVar[str] = (
        "https://learn.microsoft.com/en-us/advertising/campaign-management-service/applyofflineconversions?view=bingads-13"
    )

    def grant(self, settings: Mapping[str, str]) -> Grant | None:
        """https://learn.microsoft.com/en-us/advertising/guides/authentication-oauth-get-tokens"""
        form = {
            "grant_type": "refresh_token",
            "client_id": settings["MICROSOFT_ADS_CLIENT_ID"],
            "refresh_token": settings["MICROSOFT_ADS_REFRESH_TOKEN"],
            "scope": SCOPE,
        }
        if given := settings.get("MICROSOFT_ADS_CLIENT_SECRET"):
            form["client_secret"] = given
        address = settings.get("MICROSOFT_ADS_TOKEN_URL") or TOKEN_URL
        return Grant(address, "/common/oauth2/v2.0/token", lambda _: form)

    def wrong_action(self, action: str, value: str | None) -> str | None:
        del value
        if _GOAL_NAME.fullmatch(action):
            return None
        return "must be the name of an offline conversion goal, of 100 characters at most, such as Customer won"

    def accepts(self, ready: Ready) -> str | None:
        if not _GOAL_NAME.fullmatch(ready.action):
            return "action_is_no_goal_name"
        if not _identifiers(ready):
            return "no_identifier"
        valued = ready.value is not None and ready.value >= 0 and ready.currency
        if not valued and (ready.kind == "restatement" or ready.value is not None):
            return "no_value"
        # One at the conversion's own time was refused too.
        if ready.kind != "conversion" and (ready.adjusted_at is None or ready.adjusted_at <= _time(ready)):
            return "no_adjustment_time"
        return None

    def left_out(self, ready: Ready) -> list[str]:
        given = {
            "MicrosoftClickId": ready.click_id,
            "HashedEmailAddress": ready.email,
            "HashedPhoneNumber": ready.phone,
        }
        sent = _identifiers(ready)
        return [name for name, raw in given.items() if raw and name not in sent]

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:  # noqa: ARG002
        headers = _headers(settings)
        if {row.kind for row in batch} == {"conversion"}:
            body: Json = {"OfflineConversions": [_conversion(row) for row in batch]}
            return Request("POST", f"{API}/OfflineConversions/Apply", headers, body)
        body = {"OfflineConversionAdjustments": [_adjustment(row) for row in batch]}
        return Request("POST", f"{API}/OfflineConversionAdjustments/Apply", headers, body)

    def questions(self, asked: Asked) -> list[Question]:
        """Each goal by its name:
        https://learn.microsoft.com/en-us/advertising/campaign-management-service/getconversiongoalsbyids?view=bingads-13"""
        body = {"ConversionGoalIds": None, "ConversionGoalTypes": "OfflineConversion"}
        request = Request("POST", f"{API}/ConversionGoals/QueryByIds", _headers(asked.settings), body)
        return [Question(f"action {action}", request, partial(_goal, action)) for action in asked.actions]

    def is_own_refusal(self, answer: Answer) -> bool:
        return bool(_faults(answer))

    def read(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        faults = _faults(answer)
        if faults and answer.status >= 400:
            return _failed(answer, faults, batch)
        settled = without_error(answer, batch)
        if settled is not None:
            return settled
        body = answer.body if isinstance(answer.body, dict) and not faults else {}
        by_row = _by_row(body.get("PartialErrors", _MISSING), len(batch))
        if by_row is None:
            return all_rows(batch, "uncertain", "results_do_not_match")
        return [_outcome(row.conversion_id, by_row.get(place, [])) for place, row in enumerate(batch)]


def _headers(settings: Mapping[str, str]) -> dict[str, str]:
    return {
        "DeveloperToken": settings["MICROSOFT_ADS_DEVELOPER_TOKEN"],
        "CustomerId": settings["MICROSOFT_ADS_CUSTOMER_ID"],
        "CustomerAccountId": settings["MICROSOFT_ADS_ACCOUNT_ID"],
    }


def _goal(action: str, answer: Answer) -> Finding:
    about = f"action {action}"
    codes = [_code(error) for error in _faults(answer)]
    if codes and 400 <= answer.status < 500 and answer.status not in (408, 429):
        fix = (
            "check MICROSOFT_ADS_DEVELOPER_TOKEN, MICROSOFT_ADS_CUSTOMER_ID and MICROSOFT_ADS_ACCOUNT_ID, and let the"
            " user of MICROSOFT_ADS_REFRESH_TOKEN into the account"
        )
        return Finding(about, "failed", f"Microsoft answers {answer.status}: {codes[0]}", fix)
    if (told := told_by_status(about, answer, Microsoft.credential)) is not None:
        return told
    goals = answer.body.get("ConversionGoals") if isinstance(answer.body, dict) else None
    if answer.status != 200 or not isinstance(goals, list):
        return Finding(
            about, "cannot be checked", f"Microsoft answers {answer.status} without goals", "run preflight again later"
        )
    where = "Microsoft Advertising > Conversion goals"
    found = [goal for goal in goals if isinstance(goal, dict) and goal.get("Name") == action]
    if not found:
        fix = "make an offline conversion goal of that name, or correct it under destinations.microsoft.conversions"
        return Finding(about, "failed", "the account has no offline conversion goal of that name", fix)
    if found[0].get("Status") != "Active":
        return Finding(about, "failed", "the goal is not active", f"activate it in {where}")
    if found[0].get("IsEnhancedConversionsEnabled") is False:
        return Finding(
            about, "failed", "the goal takes no hashed addresses", f"turn enhanced conversions on in {where}"
        )
    return Finding(about, "ok", "it exists and is active")


def _identifiers(ready: Ready) -> Json:
    known = {
        "MicrosoftClickId": normalise_click_id(ready.click_id),
        "HashedEmailAddress": microsoft_hash("email", ready.email),
        "HashedPhoneNumber": microsoft_hash("phone", ready.phone, ready.country),
    }
    return {name: value for name, value in known.items() if value}


def _conversion(ready: Ready) -> Json:
    """https://learn.microsoft.com/en-us/advertising/campaign-management-service/offlineconversion?view=bingads-13

    Without a value the goal's own counts.
    """
    return {**_name(ready), **_money(ready, "Conversion")}


def _adjustment(ready: Ready) -> Json:
    """https://learn.microsoft.com/en-us/advertising/campaign-management-service/offlineconversionadjustment?view=bingads-13:
    the conversion by what it was sent with, and the new value."""
    if ready.kind not in _ADJUSTMENTS or ready.adjusted_at is None:
        raise ValueError(f"a request of adjustments cannot hold a {ready.kind} of {iso(ready.occurred_at)}")
    return {
        **_name(ready),
        "AdjustmentType": _ADJUSTMENTS[ready.kind],
        "AdjustmentTime": iso(ready.adjusted_at),
        **(_money(ready, "Adjustment") if ready.kind == "restatement" else {}),
    }


def _name(ready: Ready) -> Json:
    return {"ConversionName": ready.action, "ConversionTime": iso(_time(ready)), **_identifiers(ready)}


def _time(ready: Ready) -> datetime:
    """When the conversion occurred, to the second; the milliseconds are of our key. Two of one click, goal and second,
    or one that is told anew after it was retracted, would be duplicates otherwise."""
    number = int(sha256(ready.adjusts or ready.conversion_id)[:8], 16) % 1000
    return ready.occurred_at.replace(microsecond=number * 1000)


def _money(ready: Ready, of: str) -> Json:
    if ready.value is None or not ready.currency:
        return {}
    value = to_json_number(ready.value, ready.currency)
    return {f"{of}Value": value, f"{of}CurrencyCode": ready.currency.upper()}


def _faults(answer: Answer) -> list[Json]:
    """The errors of a refusal: AdApiFaultDetail or ApiFaultDetail."""
    body = answer.body if isinstance(answer.body, dict) else {}
    lists = [body.get(name) for name in ("Errors", "OperationErrors", "BatchErrors")]
    errors = [error for each in lists if isinstance(each, list) for error in each if isinstance(error, dict)]
    return [error for error in errors if isinstance(error.get("Code"), int) or isinstance(error.get("ErrorCode"), str)]


def _failed(answer: Answer, faults: Sequence[Json], batch: Sequence[Ready]) -> list[Outcome]:
    """A refusal of the whole request: nothing of it was applied."""
    codes = [_code(error) for error in faults]
    if busy := [code for code in codes if code in _THROTTLED]:
        return all_rows(batch, "throttled", busy[0], retry_after(answer))
    settled = plain_http(answer, batch)
    if settled is not None:
        return [replace(outcome, code=codes[0]) for outcome in settled]
    if unsure := [code for code in codes if code in _UNSURE]:
        return all_rows(batch, "uncertain", unsure[0])
    if setup := [code for code in codes if _SETUP.search(code) or not _OF_ROWS.search(code)]:
        return all_rows(batch, "stopped", setup[0])
    bad = _by_row([error for error in faults if "Index" in error], len(batch))
    if not bad:
        return refused(batch, codes[0])
    return [
        _outcome(row.conversion_id, bad[place]) if place in bad else Outcome(row.conversion_id, "refused", codes[0])
        for place, row in enumerate(batch)
    ]


def _by_row(errors: object, size: int) -> dict[int, list[str]] | None:
    """Codes by place in the request; None where it is no list of errors, or one is of no row. Only rows that failed are
    in it."""
    found: dict[int, list[str]] = {}
    if errors is not None and not isinstance(errors, list):
        return None
    for error in errors or []:
        if error is None:
            continue
        place = error.get("Index") if isinstance(error, dict) else None
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < size:
            return None
        found.setdefault(place, []).append(_code(error))
    return found


def _code(error: Json) -> str:
    name, number = error.get("ErrorCode"), error.get("Code")
    if isinstance(name, str) and _CODE.fullmatch(name):
        return name
    return f"code_{number}" if isinstance(number, int) and abs(number) < 10**9 else "no_code"


def _outcome(conversion_id: str, codes: Sequence[str]) -> Outcome:
    if not codes:
        return Outcome(conversion_id, "accepted")
    code = min(codes, key=lambda each: _STRONGEST.index(_verdict(each)))
    return Outcome(conversion_id, _verdict(code), "too_old" if code in _TOO_OLD else code)


def _verdict(code: str) -> Verdict:
    if code in _UNSURE:
        return "uncertain"
    if code in _LATER or code in _THROTTLED:
        return "transient"
    return "stopped" if _SETUP.search(code) else "rejected"


DESTINATION = Microsoft()
