"""Google Ads offline conversions by the Data Manager API.

https://developers.google.com/data-manager/api/devguides/events/google-ads/offline/send-events. The older upload of the
Google Ads API takes no new users: https://developers.google.com/google-ads/api/docs/conversions/upload-offline
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from crm_attribution.clock import iso
from crm_attribution.destinations import service_account
from crm_attribution.destinations.base import (
    Answer,
    ApiVersion,
    Asked,
    Ended,
    Finding,
    Grant,
    Json,
    Limits,
    Outcome,
    Processed,
    ProcessesLater,
    Question,
    Ready,
    Request,
    all_rows,
    refused,
    retry_after,
    told_by_status,
    without_error,
)
from crm_attribution.destinations.normalise import google_hash
from crm_attribution.identifiers import normalise_click_id
from crm_attribution.money import to_json_number
from crm_attribution.settings import Setting, file, secret, text

SCOPE = "https://www.googleapis.com/auth/datamanager"
TOKEN_URL = "https://oauth2.googleapis.com"  # noqa: S105 - an address

_KEY = "GOOGLE_SERVICE_ACCOUNT_FILE"
_OF_A_USER = frozenset({"GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET", "GOOGLE_REFRESH_TOKEN"})

_ACTION = re.compile(r"\d{1,19}", re.ASCII)
_EVENT = re.compile(r"\bevents\[(\d{1,6})\]")
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
_OF_ACCOUNT = re.compile(r"DESTINATION|ACCOUNT|TERMS|ALLOWLIST|LOGIN|PERMISSION")
"""Reasons that name what is set up, not an event: nobody's row is lost to them."""

_LATER = frozenset({"TOO_RECENT_CLICK", "INTERNAL_ERROR"})
_KNOWN = frozenset({"DUPLICATE_TRANSACTION_ID"})
_ENDS = {"SUCCESS": "success", "PARTIAL_SUCCESS": "partly", "FAILED": "failed", "FAILURE": "failed"}
"""The enum says FAILED, the guide FAILURE: https://developers.google.com/data-manager/api/devguides/diagnostics"""
_PREFIX = "PROCESSING_ERROR_REASON_"
"""https://developers.google.com/data-manager/api/reference/rpc/google.ads.datamanager.v1#processingerrorreason"""


class Google(ProcessesLater):
    """The conversion actions of a Google Ads account. `action` is the numeric id of one that imports clicks.

    An answer says that the request is taken, not that it is processed: that is asked for later, per conversion action.
    A transactionId counts once for one action, whenever it comes again.
    """

    name: ClassVar[str] = "google"
    settings: ClassVar[Sequence[Setting[str]]] = (
        text(
            "GOOGLE_ADS_CUSTOMER_ID",
            "the Google Ads account that owns the conversion actions: ten digits, without hyphens",
            where="Google Ads: the number at the top right, next to the account's name",
            required=True,
        ),
        text(
            "GOOGLE_CLIENT_ID",
            "OAuth client of a project with the Data Manager API enabled",
            where="Google Cloud console > APIs & Services > Credentials > OAuth 2.0 client IDs",
            required=True,
        ),
        secret(
            "GOOGLE_CLIENT_SECRET",
            "secret of that OAuth client",
            where="Google Cloud console > APIs & Services > Credentials > the OAuth client",
            required=True,
        ),
        secret(
            "GOOGLE_REFRESH_TOKEN",
            f"refresh token of a user of the account, granted with the scope {SCOPE}",
            where="the OAuth consent of that client: https://developers.google.com/data-manager/api/devguides/quickstart/set-up-access",
            required=True,
        ),
        file(
            "GOOGLE_SERVICE_ACCOUNT_FILE",
            "key of a service account that is a user of the account, in place of client and refresh token; needs"
            " `pip install cryptography`",
            where="Google Cloud console > IAM & Admin > Service Accounts > the account > Keys > Add key > JSON",
        ),
        text(
            "GOOGLE_ADS_LOGIN_CUSTOMER_ID",
            "the manager account by which the user reaches the account, where there is one",
            where="Google Ads: the number of the manager account, without hyphens",
        ),
        text(
            "GOOGLE_TOKEN_URL",
            f"where access tokens are asked for, for a proxy or the sandbox ({TOKEN_URL})",
            where="only where Google's own address cannot be reached",
        ),
    )
    account_setting: ClassVar[str] = "GOOGLE_ADS_CUSTOMER_ID"
    base_url: ClassVar[str] = "https://datamanager.googleapis.com"
    base_url_setting: ClassVar[str] = "GOOGLE_BASE_URL"
    credential: ClassVar[str] = "GOOGLE_REFRESH_TOKEN"
    click_id: ClassVar[str | None] = "gclid"
    other_click_ids: ClassVar[Sequence[str]] = ("gbraid", "wbraid")
    key_field: ClassVar[str | None] = "transactionId"
    example_action: ClassVar[str] = "7081234567"
    option_names: ClassVar[Sequence[str]] = ("event_source",)
    # A known transactionId restates the value; nothing takes a conversion back.
    # https://developers.google.com/data-manager/api/devguides/events/google-ads/conversion-adjustments
    kinds: ClassVar[frozenset[str]] = frozenset({"conversion", "restatement"})
    # 90 days is the longest click-through window of a conversion action.
    limits: ClassVar[Limits] = Limits(
        batch=2000,
        max_age=timedelta(days=90),
        dedupe=timedelta(days=90),
        actions=10,
        calls_per_minute=300,
        adjust_age=timedelta(days=55),
    )
    version: ClassVar[ApiVersion | None] = ApiVersion(
        "Google Data Manager API", "v1", None, "https://developers.google.com/data-manager/api/reference"
    )
    documentation: ClassVar[str] = (
        "https://developers.google.com/data-manager/api/devguides/events/google-ads/offline/send-events"
    )
    first_asked: ClassVar[timedelta] = timedelta(minutes=30)

    def account(self, settings: Mapping[str, str]) -> str:
        return settings[self.account_setting].replace("-", "")

    def lacking(self, settings: Mapping[str, str]) -> list[Setting[str]]:
        """A key of a service account stands in for client and refresh token."""
        found = super().lacking(settings)
        return [one for one in found if one.name not in _OF_A_USER] if settings.get(_KEY) else found

    def proof(self, settings: Mapping[str, str]) -> str:
        return _KEY if settings.get(_KEY) else self.credential

    def grant(self, settings: Mapping[str, str]) -> Grant | None:
        address = settings.get("GOOGLE_TOKEN_URL") or TOKEN_URL
        if key := settings.get(_KEY):
            return Grant(address, "/token", lambda now: service_account.form(key, SCOPE, f"{TOKEN_URL}/token", now))
        form = {
            "grant_type": "refresh_token",
            "client_id": settings["GOOGLE_CLIENT_ID"],
            "client_secret": settings["GOOGLE_CLIENT_SECRET"],
            "refresh_token": settings["GOOGLE_REFRESH_TOKEN"],
        }
        return Grant(address, "/token", lambda _: form)

    def wrong_action(self, action: str, value: str | None) -> str | None:
        del value
        if _ACTION.fullmatch(action):
            return None
        return "must be the numeric id of a conversion action that imports clicks, such as 7081234567"

    def accepts(self, ready: Ready) -> str | None:
        if not _ACTION.fullmatch(ready.action):
            return "action_is_no_conversion_action"
        event = _event(ready, "", "OTHER")
        if "adIdentifiers" not in event and "userData" not in event:
            return "no_identifier"
        if ready.value is not None and (ready.value < 0 or not ready.currency):
            return "no_value"
        return None

    def left_out(self, ready: Ready) -> list[str]:
        sent = {name for one in _identifiers(ready) for name in one}
        given = {"emailAddress": ready.email, "phoneNumber": ready.phone}
        names = [name for name, raw in given.items() if raw and name not in sent]
        bad = ready.click_id and not normalise_click_id(ready.click_id)
        return [*names, ready.click_kind or "gclid"] if bad else names

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:
        actions = _actions(batch)
        account = {"accountType": "GOOGLE_ADS", "accountId": self.account(settings)}
        manager = settings.get("GOOGLE_ADS_LOGIN_CUSTOMER_ID", "").replace("-", "")
        login = {"loginAccount": {"accountType": "GOOGLE_ADS", "accountId": manager}} if manager else {}
        body = {
            "destinations": [
                {"reference": action, "operatingAccount": account, **login, "productDestinationId": action}
                for action in actions
            ],
            "events": [_event(row, row.action, options.get("event_source", "OTHER")) for row in batch],
            "encoding": "HEX",
        }
        return Request("POST", "/v1/events:ingest", {}, body)

    def validate_only(self, request: Request) -> Request | None:
        """https://developers.google.com/data-manager/api/reference/rest/v1/events/ingest"""
        return replace(request, json={**request.json, "validateOnly": True})

    def questions(self, asked: Asked) -> list[Question]:
        """Google has no call that shows a conversion action: each is asked for by an event of nobody's that is only
        validated (https://developers.google.com/data-manager/api/reference/rpc/google.ads.datamanager.v1#errorreason)."""
        found = []
        for action in asked.actions:
            event = Ready("preflight", action, "conversion", asked.now, None, None, email="nobody@example.com")
            request = self.validate_only(self.build([event], asked.settings, asked.options))
            about = f"action {action}"
            found += (
                [Question(about, request, partial(_action, about, self.account(asked.settings)))] if request else []
            )
        return found

    def read(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        if isinstance(error, dict) and isinstance(error.get("status"), str) and answer.status >= 400:
            return _failed(answer, error, batch)
        settled = without_error(answer, batch)
        if settled is not None:
            return settled
        receipt = answer.body.get("requestId") if isinstance(answer.body, dict) else None
        if not isinstance(receipt, str) or not re.fullmatch(r"[\x21-\x7e]{1,200}", receipt):
            return all_rows(batch, "uncertain", "no_request_id")
        return [Outcome(row.conversion_id, "accepted", receipt=receipt) for row in batch]

    def warned(self, answer: Answer) -> Mapping[str, int]:
        """`fieldWarnings`: https://developers.google.com/data-manager/api/devguides/concepts/understand-errors"""
        told = answer.body.get("fieldWarnings") if isinstance(answer.body, dict) else None
        rows: dict[str, set[str]] = {}
        for one in told if isinstance(told, list) else []:
            place, reason = (one.get("field"), one.get("reason")) if isinstance(one, dict) else (None, None)
            if isinstance(place, str) and isinstance(reason, str) and _REASON.fullmatch(reason):
                event = _EVENT.search(place)
                field = re.sub(r"^.*?events\[\d+\]\.", "", place)
                name = f"{reason} ({re.sub(r'[^A-Za-z_.]', '', field)[:60]})"
                rows.setdefault(name, set()).add(event[1] if event else "")
        return {name: len(places) for name, places in rows.items()}

    def ask(self, receipt: str) -> Request:
        return Request("GET", "/v1/requestStatus:retrieve", {}, {}, {"requestId": receipt})

    def read_processed(self, answer: Answer, rows: Sequence[tuple[str, str]]) -> Processed:
        """Per conversion action. Of one only counts by reason are told: its rows are named where all ended alike."""
        told = _by_action(answer)
        ended: list[Ended] = []
        for action in dict.fromkeys(action for _, action in rows):
            end = told.get(action, {}).get("requestStatus")
            if end not in _ENDS:
                return Processed()
            mine = [key for key, of in rows if of == action]
            ended += _ended(mine, _ENDS[end], _counts(told[action], "errorInfo", "errorCounts"))
        errors, warnings = Counter[str](), Counter[str]()
        for status in told.values():
            errors.update(_counts(status, "errorInfo", "errorCounts"))
            warnings.update(_counts(status, "warningInfo", "warningCounts"))
        return Processed(ended, errors, warnings)


def _action(about: str, account: str, answer: Answer) -> Finding:
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    reasons = {reason for _, reason in _violations(error)} if isinstance(error, dict) else set()
    if "INVALID_CONVERSION_ACTION_ID" in reasons:
        fix = f"name a conversion action that account {account} owns in the mapping (destinations.google.conversions)"
        return Finding(about, "failed", f"account {account} has no such conversion action", fix)
    if "INVALID_CONVERSION_ACTION_TYPE" in reasons:
        fix = "make a conversion action that imports clicks, and name it in the mapping"
        return Finding(about, "failed", "the conversion action takes no imported clicks", fix)
    if answer.status == 403 or any(_OF_ACCOUNT.search(reason) for reason in reasons):
        named = ", ".join(sorted(reasons)) or "PERMISSION_DENIED"
        fix = (
            "correct GOOGLE_ADS_CUSTOMER_ID, let the user of GOOGLE_REFRESH_TOKEN into the account (or name the manager"
            " account in GOOGLE_ADS_LOGIN_CUSTOMER_ID), enable the Data Manager API in the project, and sign the terms"
            " of customer data"
        )
        return Finding(about, "failed", f"account {account} takes nothing: {named}", fix)
    if (told := told_by_status(about, answer, Google.credential)) is not None:
        return told
    if answer.status != 200:
        named = ", ".join(sorted(reasons)) or "no reason that is known here"
        return Finding(
            about, "failed", f"Google answers {answer.status}: {named}", "look the reason up in Google's reference"
        )
    found = f"account {account} takes a validated event; Google does not say whether the action is enabled"
    return Finding(about, "ok", found, "look in Google Ads > Goals > Conversions that it is enabled")


def _actions(batch: Sequence[Ready]) -> list[str]:
    return list(dict.fromkeys(row.action for row in batch))


def _event(ready: Ready, reference: str, source: str) -> Json:
    granted = {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}
    event: Json = {
        "destinationReferences": [reference],
        "transactionId": ready.adjusts or ready.conversion_id,
        "eventTimestamp": iso(ready.occurred_at),
        "eventSource": source,
    }
    if ready.consent == "granted":
        event["consent"] = granted
    click_id = normalise_click_id(ready.click_id)
    if click_id:
        event["adIdentifiers"] = {ready.click_kind or "gclid": click_id}  # one of the three, never two
    if identifiers := _identifiers(ready):
        event["userData"] = {"userIdentifiers": identifiers}
    if ready.value is not None and ready.currency:
        event["conversionValue"] = to_json_number(ready.value, ready.currency)
        event["currency"] = ready.currency.upper()
    return event


def _identifiers(ready: Ready) -> list[Json]:
    """Each one alone; a name counts with the country only, which HubSpot's postal codes are too free in form to join:
    https://developers.google.com/data-manager/api/devguides/concepts/formatting"""
    found: list[Json] = []
    if email := google_hash("email", ready.email):
        found.append({"emailAddress": email})
    if phone := google_hash("phone", ready.phone, ready.country):
        found.append({"phoneNumber": phone})
    return found


def _failed(answer: Answer, error: Json, batch: Sequence[Ready]) -> list[Outcome]:
    """google.rpc.Status: any event that breaks a rule refuses the request, and nothing of it is processed."""
    status = error["status"]
    code = status if _REASON.fullmatch(status) else f"http_{answer.status}"
    if answer.status == 429 or status == "RESOURCE_EXHAUSTED":
        return all_rows(batch, "throttled", code, retry_after(answer))
    if answer.status >= 500:
        return all_rows(batch, "uncertain", code)
    if status != "INVALID_ARGUMENT" or answer.status != 400:
        return all_rows(batch, "stopped", code)
    bad: dict[int, str] = {}
    for field, reason in _violations(error):
        if _OF_ACCOUNT.search(reason) or field.startswith("destinations"):
            return all_rows(batch, "stopped", reason)
        if place := _EVENT.search(field):
            bad.setdefault(int(place[1]), reason)
    if not bad or max(bad) >= len(batch):
        return refused(batch, code)
    return [
        Outcome(row.conversion_id, "rejected", bad[place])
        if place in bad
        else Outcome(row.conversion_id, "refused", code)
        for place, row in enumerate(batch)
    ]


def _violations(error: Json) -> Iterator[tuple[str, str]]:
    """(field, reason) of each; Google's reason words only, never its text, which quotes what was sent."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if not isinstance(detail, dict):
            continue
        reason = detail.get("reason")
        if isinstance(reason, str) and _REASON.fullmatch(reason) and reason != "INVALID_ARGUMENT":
            yield "", reason
        violations = detail.get("fieldViolations")
        for one in violations if isinstance(violations, list) else []:
            if isinstance(one, dict) and isinstance(one.get("field"), str):
                word = one.get("reason")
                known = isinstance(word, str) and _REASON.fullmatch(word)
                yield one["field"].removeprefix("events.") if known else one["field"], str(word) if known else "invalid"


def _by_action(answer: Answer) -> dict[str, Json]:
    statuses = answer.body.get("requestStatusPerDestination") if isinstance(answer.body, dict) else None
    found: dict[str, Json] = {}
    for status in statuses if answer.status == 200 and isinstance(statuses, list) else []:
        destination = status.get("destination") if isinstance(status, dict) else None
        action = destination.get("productDestinationId") if isinstance(destination, dict) else None
        if isinstance(action, str):
            found[action] = status
    return found


def _counts(status: Json, info: str, counts: str) -> dict[str, int]:
    """Reason, without its prefix -> rows. Protocol buffers' JSON writes 64-bit numbers as text."""
    told: Any = status.get(info)
    rows = told.get(counts) if isinstance(told, dict) else None
    found: dict[str, int] = {}
    for one in rows if isinstance(rows, list) else []:
        reason, count = (one.get("reason"), one.get("recordCount")) if isinstance(one, dict) else (None, None)
        if isinstance(reason, str) and _REASON.fullmatch(reason) and re.fullmatch(r"\d{1,9}", str(count)):
            found[reason.removeprefix(_PREFIX)] = int(str(count))
    return found


def _ended(keys: Sequence[str], end: str, errors: Mapping[str, int]) -> list[Ended]:
    if end == "success":
        return [Ended(key, "processed") for key in keys]
    if end == "partly" or len(errors) > 1:
        return [Ended(key, "partly", "partly_processed") for key in keys]
    reason = next(iter(errors), "FAILED")
    return [
        Ended(key, "retry" if reason in _LATER else "processed" if reason in _KNOWN else "rejected", reason)
        for key in keys
    ]


DESTINATION = Google()
