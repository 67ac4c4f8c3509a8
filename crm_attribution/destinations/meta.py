"""Meta Conversions API, CRM events.

https://developers.facebook.com/documentation/ads-commerce/conversions-api/using-the-api and, for the CRM fields,
https://developers.facebook.com/docs/marketing-api/conversions-api/conversion-leads-integration/payload-specification
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
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
    Quality,
    Question,
    Ready,
    Request,
    all_rows,
    refused,
    retry_after,
    told_by_status,
    without_error,
)
from crm_attribution.destinations.normalise import meta_hash
from crm_attribution.identifiers import normalise_click_id
from crm_attribution.money import to_json_number
from crm_attribution.settings import Setting, secret, text

API_VERSION = "v26.0"
"""Pinned, of 2026-07-29: https://developers.facebook.com/docs/graph-api/changelog"""

ENDS = date(2027, 7, 29)
"""The earlier: the Graph API keeps a version for two years, the Marketing API about one, and which of them binds
conversions is not told."""

TOO_OLD = 2804003
BAD_PARAMETER = 100
_THROTTLED = frozenset({4, 17, 32, 341, 368, 613, *range(80000, 80015)})
_TRANSIENT = frozenset({1, 2, 5000})
_BAD_TOKEN, _FORBIDDEN = 190, frozenset({10, 200, 294})
_WRONG_ID = 33
"""Error codes of the Graph API: https://developers.facebook.com/docs/graph-api/guides/error-handling"""


_IDENTIFIER = re.compile(r"[a-z_]{1,40}")

_CRM = "system_generated"
"""`action_source` of what a CRM tells."""

_VALUED = "Purchase"
"""The standard event whose value and currency are required:
https://developers.facebook.com/docs/meta-pixel/reference#standard-events"""


class Meta(Destination):
    """A dataset (pixel) of Meta's.

    `action` is the event name: a standard event such as Purchase, or a name of your own for a stage of the funnel.
    """

    name: ClassVar[str] = "meta"
    settings: ClassVar[Sequence[Setting[str]]] = (
        secret(
            "META_ACCESS_TOKEN",
            "access token of the Conversions API",
            where="Meta Events Manager > the dataset > Settings > Conversions API > Generate access token",
            required=True,
        ),
        text(
            "META_DATASET_ID",
            "the dataset (pixel) that receives the conversions",
            where="Meta Events Manager > Data sources > the dataset's ID",
            required=True,
        ),
    )
    account_setting: ClassVar[str] = "META_DATASET_ID"
    base_url: ClassVar[str] = "https://graph.facebook.com"
    base_url_setting: ClassVar[str] = "META_BASE_URL"
    credential: ClassVar[str] = "META_ACCESS_TOKEN"
    click_id: ClassVar[str | None] = "fbclid"
    key_field: ClassVar[str | None] = "event_id"
    # https://developers.facebook.com/docs/marketing-api/conversions-api/deduplicate-pixel-and-server-events
    browser_events: ClassVar[Literal["account", "action"] | None] = "action"
    example_action: ClassVar[str] = "Purchase"
    option_names: ClassVar[Sequence[str]] = ("crm_name", "action_source")
    # 7 days, since only `physical_store` has 62; 48 hours of one event name and id.
    limits: ClassVar[Limits] = Limits(batch=1000, max_age=timedelta(days=7), dedupe=timedelta(hours=48))
    version: ClassVar[ApiVersion | None] = ApiVersion(
        "Meta Graph API", API_VERSION, ENDS, "https://developers.facebook.com/docs/graph-api/changelog"
    )
    documentation: ClassVar[str] = (
        "https://developers.facebook.com/documentation/ads-commerce/conversions-api/using-the-api"
    )

    def wrong_action(self, action: str, value: str | None) -> str | None:
        if action == _VALUED and value is None:
            return f"Meta takes {_VALUED} with a value only: add `value` with a measure"
        return None

    def accepts(self, ready: Ready) -> str | None:
        if not _user(ready).keys() & {"em", "ph", "fbc", "lead_id"}:
            return "no_identifier"
        valued = ready.value is not None and ready.value >= 0 and bool(ready.currency)
        if not valued and (ready.action == _VALUED or ready.value is not None):
            return "no_value"
        return None

    def left_out(self, ready: Ready) -> list[str]:
        given = {"em": ready.email, "ph": ready.phone, "fbc": ready.clicked_at and ready.click_id}
        user = _user(ready)
        return [name for name, raw in given.items() if raw and name not in user]

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:
        # The token is sent in the body: query strings end in access logs.
        body = {
            "data": [_event(row, options) for row in batch],
            "access_token": settings["META_ACCESS_TOKEN"],
        }
        return Request("POST", f"/{API_VERSION}/{settings['META_DATASET_ID']}/events", {}, body)

    def quality(self, settings: Mapping[str, str]) -> Request | None:
        """https://developers.facebook.com/docs/marketing-api/conversions-api/dataset-quality-api"""
        headers = {"Authorization": f"Bearer {settings['META_ACCESS_TOKEN']}"}
        fields = "web{event_name,event_match_quality{composite_score,match_key_feedback{identifier,coverage}}}"
        asked = {"dataset_id": settings["META_DATASET_ID"], "fields": fields}
        return Request("GET", f"/{API_VERSION}/dataset_quality", headers, {}, asked)

    def read_quality(self, answer: Answer) -> list[Quality] | None:
        told = answer.body.get("web") if answer.status == 200 and isinstance(answer.body, dict) else None
        if not isinstance(told, list):
            return None
        return [figure for one in told if isinstance(one, dict) for figure in _figures(one)]

    def questions(self, asked: Asked) -> list[Question]:
        """The dataset; event names need none to exist:
        https://developers.facebook.com/docs/marketing-api/reference/ads-pixel"""
        dataset = asked.settings["META_DATASET_ID"]
        headers = {"Authorization": f"Bearer {asked.settings['META_ACCESS_TOKEN']}"}
        request = Request("GET", f"/{API_VERSION}/{dataset}", headers, {}, {"fields": "id,name,is_unavailable"})
        return [Question(f"dataset {dataset}", request, lambda answer: _dataset(f"dataset {dataset}", answer))]

    def read(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        if isinstance(error, dict) and isinstance(error.get("code"), int) and answer.status >= 400:
            return _failed(answer, error, batch)
        settled = without_error(answer, batch)
        if settled is not None:
            return settled
        received = answer.body.get("events_received") if isinstance(answer.body, dict) else None
        if isinstance(received, bool) or received != len(batch):
            return all_rows(batch, "uncertain", "results_do_not_match")
        return all_rows(batch, "accepted")


def _dataset(about: str, answer: Answer) -> Finding:
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if code == _BAD_TOKEN:
        return Finding(about, "failed", "190: the access token is not accepted", f"renew it and set {Meta.credential}")
    if code == BAD_PARAMETER:
        found = "100: there is no such dataset, or the token has no access to it"
        return Finding(about, "failed", found, "correct META_DATASET_ID, or make the token in this dataset's settings")
    if code in _FORBIDDEN or answer.status == 403:
        found = "the token may send, perhaps, and may not read the dataset"
        return Finding(about, "cannot be checked", found, "look at the dataset in Meta Events Manager")
    if code in _THROTTLED | _TRANSIENT:
        return Finding(about, "cannot be checked", f"Meta answers {code}", "run preflight again later")
    if (told := told_by_status(about, answer, Meta.credential)) is not None:
        return told
    if answer.status != 200:
        fix = "look the code up: https://developers.facebook.com/docs/graph-api/guides/error-handling"
        return Finding(about, "failed", f"Meta answers {answer.status}" + (f", code {code}" if code else ""), fix)
    if isinstance(answer.body, dict) and answer.body.get("is_unavailable") is True:
        return Finding(about, "failed", "the dataset is not available", "look at it in Meta Events Manager")
    return Finding(about, "ok", "it exists and the token has access; event names need not be set up at Meta")


def _figures(told: Json) -> Iterator[Quality]:
    name, quality = told.get("event_name"), told.get("event_match_quality")
    if not isinstance(name, str) or not isinstance(quality, dict):
        return
    keys = quality.get("match_key_feedback")
    figures = {"match_quality": quality.get("composite_score")}
    for key in keys if isinstance(keys, list) else []:
        of, coverage = (key.get("identifier"), key.get("coverage")) if isinstance(key, dict) else (None, None)
        if isinstance(of, str) and _IDENTIFIER.fullmatch(of) and isinstance(coverage, dict):
            figures[f"coverage_percent_{of}"] = coverage.get("percentage")
    for measure, value in figures.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1000:
            yield Quality(name[:100], measure, round(value * 100))


def _event(ready: Ready, options: Mapping[str, str]) -> Json:
    # The CRM fields are for leads of Instant Forms only; an event without a lead id is an ordinary one.
    lead = "lead_id" in (user := _user(ready))
    custom: Json = {"event_source": "crm", "lead_event_source": options.get("crm_name", "HubSpot")} if lead else {}
    if ready.value is not None and ready.currency:
        custom["value"] = to_json_number(ready.value, ready.currency)
        custom["currency"] = ready.currency.upper()
    return {
        "event_name": ready.action,
        "event_time": to_millis(ready.occurred_at) // 1000,
        "event_id": ready.key,
        "action_source": _CRM if lead else options.get("action_source", _CRM),
        "user_data": user,
        **({"custom_data": custom} if custom else {}),
    }


def _user(ready: Ready) -> Json:
    """https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters"""
    hashed = {
        "em": ready.email,
        "ph": ready.phone,
        "fn": ready.first_name,
        "ln": ready.last_name,
        "country": ready.country,
        "external_id": ready.person_id,
    }
    found = {name: meta_hash(name, raw, ready.country) for name, raw in hashed.items()}
    user: Json = {name: [value] for name, value in found.items() if value}
    click_id = normalise_click_id(ready.click_id)
    if click_id and ready.clicked_at is not None:
        # The time is when the click id was first seen; the id is case-sensitive.
        user["fbc"] = f"fb.1.{to_millis(ready.clicked_at)}.{click_id}"
    if ready.lead_id and re.fullmatch(r"\d{15,17}", ready.lead_id, re.ASCII):
        user["lead_id"] = int(ready.lead_id)
    return user


def _failed(answer: Answer, error: Json, batch: Sequence[Ready]) -> list[Outcome]:
    """One event that is invalid refuses the whole request, and the answer does not name it."""
    code, subcode = error["code"], error.get("error_subcode")
    said = f"{code}/{subcode}" if isinstance(subcode, int) else f"{code}"
    if code in _THROTTLED or answer.status == 429:
        return all_rows(batch, "throttled", said, retry_after(answer))
    if code in _TRANSIENT or answer.status >= 500 or error.get("is_transient") is True:
        return all_rows(batch, "uncertain", said)
    if code != BAD_PARAMETER or subcode == _WRONG_ID or answer.status in (401, 403):
        # Token, permission, version, dataset: no row is at fault, so none is lost to it.
        return all_rows(batch, "stopped", said)
    if subcode == TOO_OLD:
        return refused(batch, "too_old")
    return refused(batch, said)


DESTINATION = Meta()
