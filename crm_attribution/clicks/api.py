"""Clicks from an HTTP click API.

`GET {base}/clicks?since=ISO&after=CURSOR&limit=1000`, bearer token, answers
`{"clicks": [...], "next": CURSOR | null}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from crm_attribution.clock import iso
from crm_attribution.errors import Rejected, Retryable
from crm_attribution.http.transport import Transport
from crm_attribution.settings import Group, secret, text

PAGE = 1_000

BASE_URL = text("CLICKS_BASE_URL", "link-click API (`GET /clicks?since=&after=&limit=`)")
TOKEN = secret(
    "CLICKS_TOKEN", "the link-click API's token", where="your link service's API settings (needed with CLICKS_BASE_URL)"
)
GROUP = Group("Link clicks", (BASE_URL, TOKEN))


class ClickApi:
    """Reads clicks through `transport`, whose base URL is `CLICKS_BASE_URL`."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def clicks(self, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Pages of clicks received at or after `since` (all of them without), in the source's order.

        Raises:
            Retryable: when a cursor comes twice; what was read is not complete.
            Rejected: when an answer does not have the agreed shape.
        """
        params: dict[str, Any] = {"limit": PAGE}
        if since is not None:
            params["since"] = iso(since)
        used: set[str] = set()
        cursor: str | None = None
        while True:
            after = {} if cursor is None else {"after": cursor}
            page, cursor = _page(self.transport.request("GET", "/clicks", params=params | after).body)
            if page:
                yield page
            if cursor is None:
                return
            if cursor in used:
                raise Retryable("clicks: paging does not advance (a cursor came twice)")
            used.add(cursor)


def _page(body: object) -> tuple[list[dict[str, Any]], str | None]:
    clicks = body.get("clicks") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(clicks, list) or not all(isinstance(c, dict) for c in clicks):
        raise Rejected('clicks: the answer has no list of objects under "clicks"')
    following = body.get("next")
    return clicks, None if following in (None, "") else str(following)
