"""What destinations in HubSpot itself have in common: the token that writes, its scopes, and how refusals are read.

https://developers.hubspot.com/docs/api-reference/error-handling
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, ClassVar

from crm_attribution.destinations.base import (
    Answer,
    ApiVersion,
    Asked,
    Destination,
    Finding,
    Outcome,
    Question,
    Ready,
    Request,
    Source,
    all_rows,
    plain_http,
    refused,
    told_by_status,
)
from crm_attribution.http.answers import missing_scopes
from crm_attribution.settings import Group, Setting, secret

VERSION = "2026-03"
ENDS = date(2027, 9, 1)
"""Each version is supported for 18 months: https://developers.hubspot.com/docs/developer-tooling/platform/versioning"""

RECORD = "hs_object_id"
"""Among the details of a row that writes to a record: which."""

STAGE = "dealstage"

TOKEN_INFO = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105 - an address
"""https://developers.hubspot.com/docs/api/private-apps"""

WRITE_TOKEN = secret(
    "HUBSPOT_WRITE_TOKEN",
    "service key or private-app token with the scopes for writing; may be the same as HUBSPOT_ACCESS_TOKEN",
    where="HubSpot: Development > Keys > Service keys (or a private app's token)",
    required=True,
)

EMAIL = re.compile(r"[^@\s\"(),:;<>\[\\\]]+@[^@\s.]+(\.[^@\s.]+)+")
"""HubSpot refuses a whole call for an address that is none, also where another id would do."""

_CATEGORY = re.compile(r"[A-Z_]{1,60}")


class HubSpot(Destination):
    """The portal itself, planned from touches."""

    settings: ClassVar[Sequence[Setting[str]]] = (WRITE_TOKEN,)
    base_url: ClassVar[str] = "https://api.hubapi.com"
    base_url_setting: ClassVar[str] = "HUBSPOT_BASE_URL"
    credential: ClassVar[str] = "HUBSPOT_WRITE_TOKEN"
    click_id: ClassVar[str | None] = None
    plans_from: ClassVar[Source] = "touches"
    stuck_after: ClassVar[timedelta] = timedelta(hours=1)
    scopes: ClassVar[Sequence[str]]

    @property
    def group(self) -> Group:
        return Group(f"Destination {self.name}", self.settings)

    def account(self, settings: Mapping[str, str]) -> str:
        """One data directory belongs to one portal."""
        del settings
        return "hubspot"

    def read(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        if answer.status == 403 and (lacking := missing_scopes(answer.body)):
            return all_rows(batch, "stopped", f"missing scope {', '.join(lacking)}"[:80])
        settled = plain_http(answer, batch)
        if settled is not None:
            return settled
        if answer.status >= 400:
            return self.read_refusal(answer, batch)
        return self.read_success(answer, batch)

    def read_refusal(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        """4xx that are about the content. What has not HubSpot's envelope is a proxy's: nobody's row is at fault."""
        code = category(answer)
        return refused(batch, code) if code else all_rows(batch, "transient", f"http_{answer.status}")

    def read_success(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        """2xx."""
        if answer.status in self.taken and answer.body is None:
            return all_rows(batch, "accepted")
        return all_rows(batch, "uncertain", "results_do_not_match")

    def is_own_refusal(self, answer: Answer) -> bool:
        return category(answer) is not None

    def questions(self, asked: Asked) -> list[Question]:
        """The scopes of the token: https://developers.hubspot.com/docs/api/scopes"""
        request = Request(
            "POST", TOKEN_INFO, headers(asked.settings), {"tokenKey": asked.settings["HUBSPOT_WRITE_TOKEN"]}
        )
        return [Question(f"scope {scope}", request, partial(_scope, scope)) for scope in self.scopes]


def headers(settings: Mapping[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings['HUBSPOT_WRITE_TOKEN']}"}


def category(answer: Answer) -> str | None:
    """The category of HubSpot's error envelope; None where the answer has not its shape."""
    body: Any = answer.body
    if not isinstance(body, dict) or not isinstance(body.get("correlationId"), str):
        return None
    code = body.get("category")
    return code if isinstance(code, str) and _CATEGORY.fullmatch(code) else None


def version(api: str) -> ApiVersion:
    return ApiVersion(api, VERSION, ENDS, "https://developers.hubspot.com/docs/developer-tooling/platform/versioning")


def _scope(scope: str, answer: Answer) -> Finding:
    about = f"scope {scope}"
    if (told := told_by_status(about, answer, HubSpot.credential)) is not None:
        return told
    body = answer.body if isinstance(answer.body, dict) else {}
    granted = body.get("scopes")
    if answer.status != 200 or not isinstance(granted, list):
        fix = f"look whether the service key or app behind {HubSpot.credential} has {scope}"
        return Finding(about, "cannot be checked", f"HubSpot does not list the scopes ({answer.status})", fix)
    if scope in granted:
        return Finding(about, "ok", "granted")
    fix = f"add {scope} to the service key or app behind {HubSpot.credential}"
    return Finding(about, "failed", "not granted: HubSpot would refuse what it is told", fix)
