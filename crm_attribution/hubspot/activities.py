"""Meetings, calls and marketing-event attendance: what HubSpot's activities say, page by page, and as rows.

Meetings: https://developers.hubspot.com/docs/api-reference/crm-meetings-v3/guide, calls:
https://developers.hubspot.com/docs/api-reference/crm-calls-v3/guide, attendance:
https://developers.hubspot.com/docs/api-reference/legacy/marketing/marketing-events/participant-state/get-breakdown
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crm_attribution.clock import from_millis, to_millis
from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot.paging import Record, next_after, rows
from crm_attribution.hubspot.parsed import Parsed, Refused, frame_of, refuse
from crm_attribution.hubspot.texts import blank, clean, hubspot_id, moment, reason

TABLE = "raw.activity"
SEARCH_PAGE = 200
EVENT_PAGE = 100
_MODIFIED = "hs_lastmodifieddate"

ARCHIVED, MISSING = "archived", "missing"
"""What became of an activity that HubSpot does not return any more: it is in the archive, or nowhere."""

AROUND = timedelta(days=14)
"""How long after it began people of a marketing event are read again each hour: HubSpot moves no stamp for them."""


@dataclass(frozen=True)
class Kind:
    """A kind of activity that is an object of its own.

    Attributes:
        name: in raw.activity, and of its touches.
        objects: in paths.
        at: properties with the time it happened, the first that has a value counts.
        outcome: the property that says what came of it.
    """

    name: str
    objects: str
    at: tuple[str, ...]
    outcome: str

    @property
    def properties(self) -> list[str]:
        """What is read of one."""
        return [*self.at, self.outcome, _MODIFIED]


KINDS = {
    "meetings": Kind("meeting", "meetings", ("hs_meeting_start_time", "hs_timestamp"), "hs_meeting_outcome"),
    "calls": Kind("call", "calls", ("hs_timestamp",), "hs_call_status"),
}
"""By the name of their stream."""


def changed_pages(
    ask: Callable[[Record], Record], kind: Kind, since: datetime | None, until: datetime
) -> Iterator[list[Record]]:
    """Unarchived activities modified in `[since, until)`, by id: a walk whose pages no change shifts."""
    window = _window(since, until)
    last = 0
    while True:
        body = {
            "filterGroups": [{"filters": [*window, _filter("hs_object_id", "GT", last)]}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": kind.properties,
            "limit": SEARCH_PAGE,
        }
        answer = ask(body)
        page = rows(answer, f"hubspot search {kind.objects}", need="id")
        if page:
            yield page
            last = max(hubspot_id("id", row["id"]) for row in page)
        if not page or next_after(answer) is None:
            return


def count(ask: Callable[[Record], Record], since: datetime | None, until: datetime | None) -> int:
    """How many unarchived activities were modified in `[since, until)`, all where neither is given; one call."""
    filters = _window(since, until)
    return int(ask({"filterGroups": [{"filters": filters}] if filters else [], "limit": 1})["total"])


def _window(since: datetime | None, until: datetime | None) -> list[dict[str, Any]]:
    first = [] if since is None else [_filter(_MODIFIED, "GTE", to_millis(since))]
    return first if until is None else [*first, _filter(_MODIFIED, "LT", to_millis(until))]


def _filter(name: str, operator: str, value: int) -> dict[str, Any]:
    return {"propertyName": name, "operator": operator, "value": str(value)}


def events_due(events: Iterable[Record], since: datetime | None, until: datetime) -> list[Record]:
    """Those of the marketing events whose people may be others than when they were read last: changed since, begun
    in the last days, or without a readable time."""
    if since is None:
        return list(events)

    def due(event: Record) -> bool:
        begins, changed = (_instant(event.get(name)) for name in ("startDateTime", "updatedAt"))
        running = begins is None or begins - timedelta(days=1) <= until <= begins + AROUND
        return running or changed is None or changed >= since

    return [event for event in events if due(event)]


def _instant(value: object) -> datetime | None:
    try:
        return None if value is None else moment("at", str(value))
    except ValueError:
        return None


def activities(
    kind: Kind, results: Sequence[Record], contacts: Mapping[int, Sequence[int]], *, extracted_at: datetime
) -> Parsed:
    """raw.activity rows of meetings or calls.

    Args:
        kind: which of them.
        results: as search answers.
        contacts: id of an activity -> ids of its contacts.
        extracted_at: log time.
    """

    def row(result: Record) -> dict[str, Any]:
        texts = result.get("properties") or {}
        told = next((text for name in kind.at if (text := blank(texts.get(name)))), None)
        if told is None:
            raise ValueError(f"{kind.at[-1]}:missing")
        number = hubspot_id("id", result["id"])
        return {
            "occurred_at": moment(kind.at[-1], told),
            "outcome": _lower(texts.get(kind.outcome)),
            "name": None,
            "event_id": None,
            "contact_ids": sorted(contacts.get(number, [])),
            "id": str(number),
        }

    return _parsed(kind.name, results, row, extracted_at)


def attendance(event: Record, results: Sequence[Record], *, extracted_at: datetime) -> Parsed:
    """raw.activity rows of the people of a marketing event."""

    def row(result: Record) -> dict[str, Any]:
        ends, state = result["associations"], result["properties"]
        return {
            "occurred_at": from_millis(state["occurredAt"]),
            "outcome": _lower(state.get("attendanceState")),
            "name": blank(event.get("eventName")),
            "event_id": blank(event.get("objectId")),
            "contact_ids": [hubspot_id("contactId", ends["contact"]["contactId"])],
            "id": clean(result["id"]),
        }

    return _parsed("marketing_event", results, row, extracted_at)


def _lower(value: object) -> str | None:
    text = blank(value)
    return None if text is None else "_".join(text.lower().split())


def _parsed(
    kind: str, results: Sequence[Record], convert: Callable[[Record], dict[str, Any]], extracted_at: datetime
) -> Parsed:
    found: list[dict[str, Any]] = []
    refused: list[Refused] = []
    for result in results:
        try:
            found.append({**convert(result), "kind": kind, "gone": None, "extracted_at": extracted_at})
        except (ValueError, KeyError, TypeError) as error:
            refused.append(refuse({"id": result.get("id")}, TABLE, reason(error), key=f"{kind}:{result.get('id')}"))
    return Parsed(CONTRACTS[TABLE].sift(frame_of(TABLE, found)).rows, refused)
