"""LinkedIn Conversions API.

https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import ClassVar, Literal

from crm_attribution.clock import to_millis
from crm_attribution.destinations.base import (
    Answer,
    ApiVersion,
    Asked,
    Destination,
    Finding,
    Json,
    Limits,
    Outcome,
    Question,
    Ready,
    Request,
    all_rows,
    plain_http,
    refused,
    told_by_status,
)
from crm_attribution.destinations.normalise import linkedin_email_hash
from crm_attribution.identifiers import normalise_click_id
from crm_attribution.money import to_decimal
from crm_attribution.settings import Setting, secret, text

API_VERSION = "202609"
"""Pinned; a version lives about a year, then answers 426: https://learn.microsoft.com/en-us/linkedin/marketing/versioning"""

ENDS = date(2027, 9, 15)
"""A year after the version, as of those whose end is announced:
https://learn.microsoft.com/en-us/linkedin/marketing/integrations/migrations"""

_RULE_ID = re.compile(r"\d+", re.ASCII)
_EMAIL, _CLICK = "SHA256_EMAIL", "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID"
_LINE = re.compile(r"^Index:\s*(\d{1,6})\b(.*)$")
_PATH = re.compile(r"ERROR\s*::\s*/?([A-Za-z0-9_/]{1,60})\s*::\s*(.*)")


class LinkedIn(Destination):
    """The conversion rules of an ad account. `action` is the numeric id of a rule with method CONVERSIONS_API.

    What LinkedIn does with two server events of one eventId is not documented (the id is for the Insight Tag), so
    an event that may have been applied is never sent again by itself.
    """

    name: ClassVar[str] = "linkedin"
    settings: ClassVar[Sequence[Setting[str]]] = (
        secret(
            "LINKEDIN_ACCESS_TOKEN",
            "access token of the Conversions API; rule ids are in the mapping",
            where="LinkedIn Campaign Manager > Signals Manager > Direct API > Generate token",
            required=True,
        ),
        text(
            "LINKEDIN_ACCOUNT_ID",
            "the ad account: where several share one data directory, and for `preflight` to look at conversion rules",
            where="LinkedIn Campaign Manager: the number in the ad account's address",
        ),
    )
    account_setting: ClassVar[str] = "LINKEDIN_ACCOUNT_ID"
    base_url: ClassVar[str] = "https://api.linkedin.com"
    base_url_setting: ClassVar[str] = "LINKEDIN_BASE_URL"
    credential: ClassVar[str] = "LINKEDIN_ACCESS_TOKEN"
    click_id: ClassVar[str | None] = "li_fat_id"
    key_field: ClassVar[str | None] = "eventId"
    # Of one ad account, whatever its rules: https://learn.microsoft.com/en-us/linkedin/marketing/integrations/conversions/deduplication
    browser_events: ClassVar[Literal["account", "action"] | None] = "account"
    example_action: ClassVar[str] = "104012"
    limits: ClassVar[Limits] = Limits(batch=5000, max_age=timedelta(days=90), dedupe=None, calls_per_minute=600)
    version: ClassVar[ApiVersion | None] = ApiVersion(
        "LinkedIn Marketing API", API_VERSION, ENDS, "https://learn.microsoft.com/en-us/linkedin/marketing/versioning"
    )
    documentation: ClassVar[str] = (
        "https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api"
    )

    def account(self, settings: Mapping[str, str]) -> str:
        return settings.get(self.account_setting) or self.name

    def wrong_action(self, action: str, value: str | None) -> str | None:
        del value
        if _RULE_ID.fullmatch(action):
            return None
        return "must be the numeric id of a conversion rule with method CONVERSIONS_API, such as 104012"

    def accepts(self, ready: Ready) -> str | None:
        if not _RULE_ID.fullmatch(ready.action):
            return "action_is_no_rule_id"
        if not _user_ids(ready):
            return "no_identifier"
        if ready.value is not None and (ready.value < 0 or not ready.currency):
            return "no_value"
        return None

    def left_out(self, ready: Ready) -> list[str]:
        sent = {item["idType"] for item in _user_ids(ready)}
        given = {_EMAIL: ready.email, _CLICK: ready.click_id}
        return [kind for kind, raw in given.items() if raw and kind not in sent]

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:  # noqa: ARG002
        headers = {**_headers(settings), "X-RestLi-Method": "BATCH_CREATE"}
        return Request("POST", "/rest/conversionEvents", headers, {"elements": [_event(row) for row in batch]})

    def questions(self, asked: Asked) -> list[Question]:
        """The ad account and each conversion rule:
        https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversion-tracking"""
        account = asked.settings.get("LINKEDIN_ACCOUNT_ID")
        if not account:
            return []
        headers, urn = _headers(asked.settings), {"account": f"urn:li:sponsoredAccount:{account}"}
        about = f"account {account}"
        found = [Question(about, Request("GET", f"/rest/adAccounts/{account}", headers, {}), partial(_account, about))]
        for action in asked.actions:
            about = f"action {action}"
            request = Request("GET", f"/rest/conversions/{action}", headers, {}, urn)
            found.append(Question(about, request, partial(_rule, about, account)))
        return found

    def not_checked(self, asked: Asked) -> list[Finding]:
        if asked.settings.get("LINKEDIN_ACCOUNT_ID"):
            return []
        fix = (
            "set LINKEDIN_ACCOUNT_ID before the first conversion is planned: it is part of the key of each, so a later"
            " change would send them as new ones"
        )
        known = "LinkedIn shows conversion rules by ad account, and LINKEDIN_ACCOUNT_ID is not set"
        return [Finding(f"token and actions {', '.join(asked.actions)}", "cannot be checked", known, fix)]

    def is_own_refusal(self, answer: Answer) -> bool:
        return isinstance(answer.body, dict) and answer.body.get("status") == answer.status

    def read(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        settled = plain_http(answer, batch)
        if settled is not None:
            return settled
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 422:
            return _refused(str(body.get("message", "")), batch)
        if answer.status >= 400:
            code = body.get("code")
            if isinstance(code, str) and re.fullmatch(r"[A-Z_]{1,60}", code):
                return refused(batch, code)
            return all_rows(batch, "transient", f"http_{answer.status}")
        elements = body.get("elements")
        if not isinstance(elements, list) or len(elements) != len(batch):
            return all_rows(batch, "uncertain", "results_do_not_match")
        return [_element(item, row.conversion_id) for item, row in zip(elements, batch, strict=True)]


def _headers(settings: Mapping[str, str]) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {settings['LINKEDIN_ACCESS_TOKEN']}",
        "LinkedIn-Version": API_VERSION,
        "X-Restli-Protocol-Version": "2.0.0",
    }


def _account(about: str, answer: Answer) -> Finding:
    if (told := told_by_status(about, answer, LinkedIn.credential)) is not None:
        return told
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status == 404:
        return Finding(about, "failed", "there is no such ad account", "correct LINKEDIN_ACCOUNT_ID")
    if answer.status != 200:
        fix = "a token for conversions alone may not read the account; with the scope r_ads it is looked at"
        return Finding(about, "cannot be checked", f"LinkedIn answers {answer.status}", fix)
    if body.get("status") != "ACTIVE":
        return Finding(about, "failed", "the ad account is not active", "activate it in LinkedIn Campaign Manager")
    return Finding(about, "ok", "it exists and is active")


def _rule(about: str, account: str, answer: Answer) -> Finding:
    if (told := told_by_status(about, answer, LinkedIn.credential)) is not None:
        return told
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status == 403:
        fix = "grant the scope rw_conversions, and its user a role in the ad account"
        return Finding(about, "failed", f"403: the token may not read the conversion rules of {account}", fix)
    if answer.status == 404:
        fix = (
            "name an existing rule in the mapping (destinations.linkedin.conversions), or make one with this id's type"
        )
        return Finding(about, "failed", f"ad account {account} has no such conversion rule", fix)
    if answer.status != 200:
        fix = f"look in LinkedIn Campaign Manager whether rule and ad account {account} belong together"
        return Finding(about, "failed", f"LinkedIn answers {answer.status}", fix)
    if body.get("conversionMethod") != "CONVERSIONS_API":
        fix = "make a rule with the method Conversions API and name it in the mapping"
        return Finding(about, "failed", "the rule takes no events of the Conversions API", fix)
    if body.get("enabled") is False:
        return Finding(about, "failed", "the rule is not enabled", "enable it in LinkedIn Campaign Manager")
    kind = body.get("type")
    named = f", type {kind}" if isinstance(kind, str) and re.fullmatch(r"[A-Z_]{1,60}", kind) else ""
    return Finding(about, "ok", f"it exists, is enabled and takes the Conversions API{named}")


def _event(ready: Ready) -> Json:
    event: Json = {
        "conversion": f"urn:lla:llaPartnerConversion:{ready.action}",
        "conversionHappenedAt": to_millis(ready.occurred_at),
        "eventId": ready.key,
        # Names would have to be sent in plain text (userInfo), so they are not sent at all.
        "user": {"userIds": _user_ids(ready)},
    }
    if ready.value is not None and ready.currency:
        amount = to_decimal(ready.value, ready.currency)
        event["conversionValue"] = {"currencyCode": ready.currency.upper(), "amount": amount}
    return event


def _user_ids(ready: Ready) -> list[Json]:
    known = {_EMAIL: linkedin_email_hash(ready.email), _CLICK: normalise_click_id(ready.click_id)}
    return [{"idType": kind, "idValue": value} for kind, value in known.items() if value]


def _refused(message: str, batch: Sequence[Ready]) -> list[Outcome]:
    """422: nothing was applied. `Index: N, ERROR :: /path :: reason` names the bad rows; the others go again."""
    bad: dict[int, str] = {}
    for line in message.splitlines():
        match = _LINE.match(line.strip())
        if match:
            found = _PATH.search(match[2])
            path = found[1] if found else "invalid"
            old = found is not None and path == "conversionHappenedAt" and re.search(r"\b90\b|days|old|past", found[2])
            bad[int(match[1])] = "too_old" if old else path
    if not bad or max(bad) >= len(batch):
        return refused(batch, "http_422")
    return [
        Outcome(row.conversion_id, "rejected", bad[position])
        if position in bad
        else Outcome(row.conversion_id, "refused", "http_422")
        for position, row in enumerate(batch)
    ]


def _element(item: object, conversion_id: str) -> Outcome:
    status = item.get("status") if isinstance(item, dict) else None
    if not isinstance(status, int) or isinstance(status, bool):
        return Outcome(conversion_id, "uncertain", "no_status")
    if 200 <= status < 300:
        return Outcome(conversion_id, "accepted")
    if status == 429:
        return Outcome(conversion_id, "transient", "status_429")
    return Outcome(conversion_id, "rejected" if 400 <= status < 500 else "uncertain", f"status_{status}")


DESTINATION = LinkedIn()
