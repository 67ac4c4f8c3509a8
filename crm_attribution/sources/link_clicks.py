"""Clicks on tracked links: from an API and from files.

`GET {base}/clicks?since=ISO&after=CURSOR&limit=1000`, bearer token, answers `{"clicks": [...], "next": CURSOR | null}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.clock import iso, parse_instant
from crm_attribution.errors import Rejected, Retryable
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.texts import clean, click_id, hubspot_id, readable
from crm_attribution.identifiers import CLICK_ID_PARAMETERS, url_parameters
from crm_attribution.raw.rules.bot_clicks import mark_bots
from crm_attribution.settings import Settings, secret, text
from crm_attribution.sources.base import Connection, Given, Source
from crm_attribution.sources.rows import Row, listed

PAGE = 1_000
_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
_PLAIN = ("link_slug", "link_title", "short_url", "country", "device", "referrer", "user_agent", "method", "ip_hash")

BASE_URL = text(
    "CLICKS_BASE_URL",
    "link-click API (`GET /clicks?since=&after=&limit=`); or drop files into `inbox/clicks/`",
    where="the address of your link service's API (needed with CLICKS_TOKEN)",
    required=True,
)
TOKEN = secret(
    "CLICKS_TOKEN",
    "the link-click API's token",
    where="your link service's API settings (needed with CLICKS_BASE_URL)",
    required=True,
)


@dataclass(frozen=True)
class LinkClicks(Source):
    """Clicks as a link service records them. A click that shows a bot by itself is marked."""

    def connection(self, given: Settings) -> Connection:
        return Connection(given[BASE_URL], {"Authorization": f"Bearer {given[TOKEN]}"}, TOKEN.name)

    def pages(self, transport: Transport, since: datetime | None) -> Iterator[Sequence[Given]]:
        """Pages of clicks received at or after `since`, empty ones left out."""
        params: dict[str, Any] = {"limit": PAGE}
        if since is not None:
            params["since"] = iso(since)
        used: set[str] = set()
        cursor: str | None = None
        while True:
            after = {} if cursor is None else {"after": cursor}
            page, cursor = _page(transport.request("GET", "/clicks", params=params | after).body)
            if page:
                yield page
            if cursor is None:
                return
            if cursor in used:
                raise Retryable("clicks: paging does not advance (a cursor came twice)")
            used.add(cursor)

    def row(self, given: Given, problems: list[str]) -> Row:
        return _click(given, problems)

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        return mark_bots(rows)


def _page(body: object) -> tuple[list[dict[str, Any]], str | None]:
    clicks = body.get("clicks") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(clicks, list) or not all(isinstance(c, dict) for c in clicks):
        raise Rejected('clicks: the answer has no list of objects under "clicks"')
    following = body.get("next")
    return clicks, None if following in (None, "") else str(following)


def _click(row: Given, problems: list[str]) -> Row:
    """What the row lacks is taken from the destination URL: contact id (`eid`), UTM parameters, click ids."""
    given = {name: _text(name, value, problems) for name, value in row.items() if name != "link_tags"}
    landing = url_parameters(given.get("destination_url"))
    clicked = given.get("clicked_at")
    if clicked is None:
        raise ValueError("clicked_at:missing")
    if given.get("click_id") is None:
        raise ValueError("click_id:missing")
    if given.get("destination_url") is None:
        raise ValueError("destination_url:missing")
    contact = given.get("contact_id") or landing.get("eid")
    at, told = _moment("clicked_at", clicked), given.get("received_at")
    received = None if told is None else readable(lambda: _moment("received_at", told), problems)
    return {
        "click_id": given["click_id"],
        "clicked_at": at,
        "received_at": received or at,
        "link_tags": readable(lambda: _tags(row.get("link_tags")), problems),
        "destination_url": given["destination_url"],
        "contact_id": None if contact is None else readable(lambda: hubspot_id("contact_id", contact), problems),
        **{name: given.get(name) or landing.get(name) for name in _UTM},
        **{name: click_id(name, given.get(name) or landing.get(name), problems) for name in CLICK_ID_PARAMETERS},
        **{name: given.get(name) for name in _PLAIN},
        "is_bot": False,
        "bot_reason": None,
    }


def _tags(value: Any) -> list[str]:
    try:
        return listed(value)
    except ValueError:
        raise ValueError("link_tags:not_a_list") from None


def _moment(name: str, text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(f"{name}:not_a_time") from None


def _text(name: str, value: Any, problems: list[str]) -> str | None:
    if isinstance(value, dict | list):
        problems.append(f"{name}:not_a_text")
        return None
    text = None if value is None else clean(value).strip()
    return text or None


SOURCE = LinkClicks(
    name="link_clicks",
    table="raw.link_click",
    folder="clicks",
    owner_column="contact_id",
    happened=("clicked_at",),
    received_column="received_at",
    settings=(BASE_URL, TOKEN),
    derived=("is_bot", "bot_reason"),
    filled=("received_at",),
    page_size=PAGE,
)
