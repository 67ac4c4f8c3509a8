"""What is dated by itself: form submissions and clicks in marketing e-mails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from crm_attribution.clock import to_millis
from crm_attribution.errors import Rejected
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.paging import Record, pages
from crm_attribution.hubspot.paths import segment

# https://developers.hubspot.com/docs/api-reference/legacy/marketing/forms/v1/get-form-integrations-v1-submissions-forms-form_guid
SUBMISSIONS = 50
EMAIL_EVENTS = 1_000


def submission_pages(
    transport: Transport, path: str, form_id: str, newer_than: datetime | None
) -> Iterator[list[Record]]:
    """Submissions at or after `newer_than`, newest first.

    The endpoint has no time filter, and what arrives while we page shifts the pages: hence the stop at the
    watermark and the dedupe on `conversionId`.
    """
    where = "hubspot form submissions"
    watermark = None if newer_than is None else to_millis(newer_than)
    seen: set[str] = set()

    def fetch(after: str | None) -> Record:
        params: dict[str, Any] = {"limit": SUBMISSIONS} | ({} if after is None else {"after": after})
        body: Record = transport.request("GET", f"{path}/{segment(form_id)}", params=params).body
        return body

    for page in pages(fetch, where):
        due = [row for row in page if watermark is None or _submitted(row, where) >= watermark]
        fresh: list[Record] = []
        for row in due:
            key = str(row.get("conversionId"))
            if key not in seen:
                seen.add(key)
                fresh.append(row)
        if fresh:
            yield fresh
        if len(due) < len(page):
            return


def _submitted(row: Record, where: str) -> int:
    try:
        return int(row["submittedAt"])
    except (KeyError, TypeError, ValueError):
        raise Rejected(f"{where}: a submission has no readable submittedAt") from None


def email_click_pages(
    transport: Transport, path: str, since: datetime | None, until: datetime
) -> Iterator[list[Record]]:
    """CLICK events created in `[since, until)`, those HubSpot filters as bots included (`filteredEvent`).

    Both ends of the endpoint's own window are inclusive
    (https://developers.hubspot.com/docs/api-reference/legacy/email-analytics-v1/events/get-email-public-v1-events).
    An event's key is the pair (created, id).
    """
    params: dict[str, Any] = {"eventType": "CLICK", "limit": EMAIL_EVENTS, "endTimestamp": to_millis(until) - 1}
    if since is not None:
        params["startTimestamp"] = to_millis(since)

    def fetch(offset: str | None) -> Record:
        cursor = {} if offset is None else {"offset": offset}
        body: Record = transport.request("GET", path, params=params | cursor).body
        return body

    def following(body: Record) -> str | None:
        offset = body.get("offset")
        return str(offset) if body.get("hasMore") and offset else None

    return (page for page in pages(fetch, "hubspot e-mail events", key="events", following=following) if page)
