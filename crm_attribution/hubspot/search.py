"""Which records changed: a keyset walk over HubSpot's search.

Facts behind it (https://developers.hubspot.com/docs/api-reference/search/guide): 200 results a page, one sort,
a request body of at most 3,000 characters, and an error beyond the first 10,000 results of a query. `after` is
an offset into a live result set, so a record that changes while we page shifts everything behind it; this walk
never sends it. Instead each page asks for what was modified at or after the last page's end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_attribution.clock import from_millis, parse_instant, to_millis
from crm_attribution.errors import Rejected, Retryable
from crm_attribution.hubspot.paging import Record, next_after, rows

PAGE = 200
LONGEST_BODY = 2_900
# Re-reading this many boundary records costs at most 2 % of a page; more are excluded by id.
CHEAP_OVERLAP = 4

Filter = dict[str, Any]


@dataclass(frozen=True)
class Changed:
    """A record's id and its current modified time, to the millisecond."""

    id: str
    modified: datetime


def modified_property(object_type: str) -> str:
    """The property that search filters and sorts by: contacts have their own
    (https://developers.hubspot.com/docs/api-reference/search/guide, default columns)."""
    return "lastmodifieddate" if object_type in ("contacts", "contact", "0-1") else "hs_lastmodifieddate"


def window_filters(prop: str, since: datetime | None, until: datetime | None) -> list[Filter]:
    """`[since, until)` on `prop`; instants as epoch milliseconds in strings."""
    lower = [] if since is None else [_filter(prop, "GTE", to_millis(since))]
    upper = [] if until is None else [_filter(prop, "LT", to_millis(until))]
    return lower + upper


class ChangeFeed(Iterator[list[Changed]]):
    """Pages of `[since, until)`, oldest change first, each change once.

    A record that changes again during the walk leaves its old place: it comes again further on when its new
    time is inside the window, else it belongs to the next window.
    """

    def __init__(
        self, ask: Callable[[Record], Record], object_type: str, since: datetime | None, until: datetime
    ) -> None:
        self._ask = ask
        self._prop = modified_property(object_type)
        self._where = f"hubspot search {object_type}"
        self._since = None if since is None else to_millis(since)
        self._until = to_millis(until)
        self._total: int | None = None
        self._walk = self._pages()
        self._ahead: list[Changed] | None = None

    def __next__(self) -> list[Changed]:
        if self._ahead is not None:
            page, self._ahead = self._ahead, None
            return page
        return next(self._walk)

    @property
    def total(self) -> int:
        """How many records HubSpot counts in the window. Reads the first page, which is kept: no extra call."""
        if self._total is None:
            self._ahead = next(self._walk, None)
        return self._total or 0

    def _pages(self) -> Iterator[list[Changed]]:
        cursor, seen = self._since, set[str]()
        while cursor is None or cursor < self._until or self._total is None:
            page, more = self._read(self._query(cursor, seen))
            fresh = [c for c in page if not (to_millis(c.modified) == cursor and c.id in seen)]
            if fresh:
                yield fresh
            if not more:
                return
            last = to_millis(max(c.modified for c in page))
            if cursor is not None and last < cursor:
                raise Retryable(f"{self._where}: paging does not advance (results are older than asked for)")
            at_last = {c.id for c in page if to_millis(c.modified) == last}
            seen = seen | at_last if last == cursor else at_last
            if len(at_last) == len(page) or not self._fits(last, seen):
                yield from self._ties(last, seen)
                last, seen = last + 1, set()
            cursor = last

    def _ties(self, moment: int, seen: set[str]) -> Iterator[list[Changed]]:
        """Everything modified in exactly this millisecond, by id: bulk changes stamp thousands alike."""
        last = 0
        exactly = [_filter(self._prop, "GTE", moment), _filter(self._prop, "LT", moment + 1)]
        while True:
            beyond = [*exactly, _filter("hs_object_id", "GT", last)]
            page, more = self._read(self._body([beyond], sort="hs_object_id"))
            fresh = [c for c in page if c.id not in seen]
            if fresh:
                yield fresh
            if not more:
                return
            highest = max(_number(c.id, self._where) for c in page)
            if highest <= last:
                raise Retryable(f"{self._where}: paging does not advance (ids are lower than asked for)")
            last = highest

    def _read(self, body: Record) -> tuple[list[Changed], bool]:
        answer = self._ask(body)
        page = [self._changed(row) for row in rows(answer, self._where)]
        total = answer.get("total")
        counted = total if isinstance(total, int) else len(page)
        if self._total is None:
            self._total = counted
        more = next_after(answer) is not None or counted > len(page)
        if more and not page:
            raise Retryable(f"{self._where}: {counted} results counted, none returned")
        return page, more

    def _query(self, cursor: int | None, seen: set[str]) -> Record:
        upper = _filter(self._prop, "LT", self._until)
        if cursor is None:
            return self._body([[upper]])
        if len(seen) <= CHEAP_OVERLAP:
            return self._body([[_filter(self._prop, "GTE", cursor), upper]])
        return self._without(cursor, seen)

    def _without(self, cursor: int, seen: set[str]) -> Record:
        here = [_filter(self._prop, "GTE", cursor), _filter(self._prop, "LT", min(cursor + 1, self._until))]
        unseen = {"propertyName": "hs_object_id", "operator": "NOT_IN", "values": sorted(seen)}
        later = [_filter(self._prop, "GTE", cursor + 1), _filter(self._prop, "LT", self._until)]
        return self._body([[*here, unseen], later])

    def _fits(self, cursor: int, seen: set[str]) -> bool:
        return len(seen) < PAGE and len(json.dumps(self._without(cursor, seen))) <= LONGEST_BODY

    def _body(self, groups: list[list[Filter]], *, sort: str | None = None) -> Record:
        return {
            "filterGroups": [{"filters": filters} for filters in groups],
            "sorts": [{"propertyName": sort or self._prop, "direction": "ASCENDING"}],
            "properties": [self._prop],
            "limit": PAGE,
        }

    def _changed(self, row: Record) -> Changed:
        properties = row.get("properties")
        stamp = (properties.get(self._prop) if isinstance(properties, dict) else None) or row.get("updatedAt")
        try:
            text = str(stamp)
            modified = from_millis(text) if text.isdigit() else parse_instant(text)
            return Changed(str(row["id"]), modified)
        except (KeyError, ValueError):
            raise Rejected(f"{self._where}: a result has no id or no readable {self._prop}") from None


def _filter(prop: str, operator: str, value: int) -> Filter:
    return {"propertyName": prop, "operator": operator, "value": str(value)}


def _number(record_id: str, where: str) -> int:
    if not record_id.isdigit():
        raise Rejected(f"{where}: a record id is not a number")
    return int(record_id)
