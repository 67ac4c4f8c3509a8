"""LinkedIn Conversions API.

https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from crm_attribution.clock import to_millis
from crm_attribution.destinations.base import (
    Answer,
    Destination,
    Json,
    Limits,
    Outcome,
    Ready,
    Request,
    all_rows,
    plain_http,
    refused,
)
from crm_attribution.destinations.normalise import linkedin_email_hash
from crm_attribution.identifiers import normalise_click_id
from crm_attribution.money import to_decimal
from crm_attribution.settings import Setting, secret, text

API_VERSION = "202609"
"""Pinned; a version lives about a year, then answers 426: https://learn.microsoft.com/en-us/linkedin/marketing/versioning"""

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
            "the ad account, where several share one data directory",
            where="LinkedIn Campaign Manager: the number in the ad account's address",
        ),
    )
    base_url: ClassVar[str] = "https://api.linkedin.com"
    base_url_setting: ClassVar[str] = "LINKEDIN_BASE_URL"
    credential: ClassVar[str] = "LINKEDIN_ACCESS_TOKEN"
    click_id: ClassVar[str | None] = "li_fat_id"
    key_field: ClassVar[str] = "eventId"
    example_action: ClassVar[str] = "104012"
    limits: ClassVar[Limits] = Limits(batch=5000, max_age=timedelta(days=90), dedupe=None, calls_per_minute=600)
    documentation: ClassVar[str] = (
        "https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api"
    )

    def account(self, settings: Mapping[str, str]) -> str:
        return settings.get("LINKEDIN_ACCOUNT_ID") or self.name

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
        headers = {
            "Authorization": f"Bearer {settings['LINKEDIN_ACCESS_TOKEN']}",
            "LinkedIn-Version": API_VERSION,
            "X-Restli-Protocol-Version": "2.0.0",
            "X-RestLi-Method": "BATCH_CREATE",
        }
        return Request("POST", "/rest/conversionEvents", headers, {"elements": [_event(row) for row in batch]})

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


def _event(ready: Ready) -> Json:
    event: Json = {
        "conversion": f"urn:lla:llaPartnerConversion:{ready.action}",
        "conversionHappenedAt": to_millis(ready.occurred_at),
        "eventId": ready.conversion_id,
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
