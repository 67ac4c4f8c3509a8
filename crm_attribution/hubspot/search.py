"""Which records changed: a keyset walk over HubSpot's search.

Facts behind it (https://developers.hubspot.com/docs/api-reference/search/guide): 200 results a page, one sort,
a request body of at most 3,000 characters, and an error beyond the first 10,000 results of a query. `after` is
an offset into a live result set, so a record that changes while we page shifts everything behind it.

So the first search has no filter and is sorted by the modified property, newest first. Its answer has two
parts: how many records HubSpot has, which proves that we have them all, and the 200 newest changes, which
in most hours are all there are. Where they are not, the rest of the window is walked by record id, `id > last page's
highest`, and `after` is never sent. Ids are unique and do not change, which the modified time is not (a bulk change
stamps thousands of records with one millisecond) and does (a change moves the record): no ties, no overlap between
pages, no position that shifts, and ⌈N/200⌉ calls for any clustering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from crm_attribution.clock import from_millis, parse_instant, to_millis
from crm_attribution.errors import Rejected, Retryable
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.paging import Record, next_after, rows

PAGE = 200
_MILLISECOND = timedelta(milliseconds=1)

Filter = dict[str, Any]


@dataclass(frozen=True)
class Changed:
    """A record's id and its current modified time, to the millisecond."""

    id: str
    modified: datetime


def window_filters(prop: str, since: datetime | None, until: datetime | None) -> list[Filter]:
    """`[since, until)` on `prop`; timestamps as epoch milliseconds in strings."""
    lower = [] if since is None else [_filter(prop, "GTE", to_millis(since))]
    upper = [] if until is None else [_filter(prop, "LT", to_millis(until))]
    return lower + upper


def id_filters(first: int, last: int) -> list[Filter]:
    """Record ids from `first` to `last`, both included."""
    return [_filter("hs_object_id", "GTE", first), _filter("hs_object_id", "LTE", last)]


@dataclass(frozen=True)
class Walk:
    """A walk by id through the records modified in `[since, until)`, and how far it has come: kept, it can be gone on
    with after a crash."""

    since: datetime | None
    until: datetime
    last_id: int = 0


class ChangeFeed:
    """The records changed in `[since, until)`, each once.

    A record that changes while it is read to a time outside the window leaves it: it belongs to the next one.

    Attributes:
        live: how many unarchived records HubSpot counts in all.
        newest: changed records, newest first; all of them where `walk` is None.
        walk: where the others are, all older than those in `newest`.
    """

    def __init__(
        self, ask: Callable[[Record], Record], object_type: str, since: datetime | None, until: datetime
    ) -> None:
        self._search = _Search(ask, object_type)
        page, self.live = self._search.newest()
        full = self.live > len(page)
        oldest = page[-1].modified if page else until
        reaches_further = full and (since is None or oldest >= since)
        border = oldest if reaches_further else None
        self.newest = [
            c for c in page if (since is None or c.modified >= since) and c.modified != border and c.modified < until
        ]
        self.walk = Walk(since, min(oldest + _MILLISECOND, until)) if reaches_further else None
        self._ahead: tuple[list[Changed], int] | None = None

    @property
    def total(self) -> int:
        """How many records HubSpot counts in the window. May read the walk's first page, which is kept."""
        if self.walk is None:
            return len(self.newest)
        if self._ahead is None:
            self._ahead = self._search.page(self.walk)
        return len(self.newest) + self._ahead[1]

    def older(self) -> Iterator[list[Changed]]:
        """The pages of `walk`."""
        return iter(()) if self.walk is None else self._search.pages(self.walk, self._ahead)


def walk_pages(ask: Callable[[Record], Record], object_type: str, walk: Walk) -> Iterator[list[Changed]]:
    """The rest of a walk that was broken off."""
    return _Search(ask, object_type).pages(walk, None)


WON_PROPERTIES = ("amount", "deal_currency_code", "closedate", "hs_lastmodifieddate", "createdate")


def won_pages(ask: Callable[[Record], Record]) -> Iterator[list[Record]]:
    """The unarchived deals that HubSpot itself has as closed and won, with what they are worth, by record id.
    ⌈N/200⌉ calls."""
    where, last = "hubspot search deals won", 0
    while True:
        won: Filter = {"propertyName": "hs_is_closed_won", "operator": "EQ", "value": "true"}
        answer = ask(
            {
                "filterGroups": [{"filters": [won, _filter("hs_object_id", "GT", last)]}],
                "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
                "properties": list(WON_PROPERTIES),
                "limit": PAGE,
            }
        )
        page = rows(answer, where, need="id")
        if page:
            yield page
        if len(page) < PAGE:
            return
        newest = max(_number(str(row["id"]), where) for row in page)
        if newest <= last:
            raise Retryable(f"{where}: paging does not advance (ids are not above those asked for)")
        last = newest


class _Search:
    """Questions about one object type."""

    def __init__(self, ask: Callable[[Record], Record], object_type: str) -> None:
        self._ask = ask
        self._prop = OBJECT_TYPES[object_type].modified_property
        self._where = f"hubspot search {object_type}"

    def newest(self) -> tuple[list[Changed], int]:
        """The newest page of all records, and how many there are."""
        return self._answer([], self._prop, "DESCENDING")

    def page(self, walk: Walk) -> tuple[list[Changed], int]:
        """The next page of a walk, and how many records are still before it."""
        beyond = [_filter("hs_object_id", "GT", walk.last_id)] if walk.last_id else []
        filters = window_filters(self._prop, walk.since, walk.until) + beyond
        page, total = self._answer([{"filters": filters}], "hs_object_id", "ASCENDING")
        if page and min(int(c.id) for c in page) <= walk.last_id:
            raise Retryable(f"{self._where}: paging does not advance (ids are not above those asked for)")
        if total and not page:
            raise Retryable(f"{self._where}: {total} results counted, none returned")
        return page, total

    def pages(self, walk: Walk, ahead: tuple[list[Changed], int] | None) -> Iterator[list[Changed]]:
        while True:
            page, total = ahead or self.page(walk)
            ahead = None
            if page:
                yield page
            if total <= len(page):
                return
            walk = replace(walk, last_id=max(int(c.id) for c in page))

    def _answer(self, groups: list[Record], sort: str, direction: str) -> tuple[list[Changed], int]:
        answer = self._ask(
            {
                "filterGroups": groups,
                "sorts": [{"propertyName": sort, "direction": direction}],
                "properties": [self._prop],
                "limit": PAGE,
            }
        )
        page = [self._changed(row) for row in rows(answer, self._where, need="id")]
        total = answer.get("total")
        more = len(page) + (next_after(answer) is not None)
        return page, max(total, more) if isinstance(total, int) else more

    def _changed(self, row: Record) -> Changed:
        properties = row.get("properties")
        stamp = (properties.get(self._prop) if isinstance(properties, dict) else None) or row.get("updatedAt")
        try:
            text = str(stamp)
            modified = from_millis(text) if text.isdigit() else parse_instant(text)
        except ValueError:
            raise Rejected(f"{self._where}: a result has no readable {self._prop}") from None
        return Changed(str(_number(str(row["id"]), self._where)), modified)


def _filter(prop: str, operator: str, value: int) -> Filter:
    return {"propertyName": prop, "operator": operator, "value": str(value)}


def _number(record_id: str, where: str) -> int:
    if not record_id.isdigit():
        raise Rejected(f"{where}: a record id is not a number")
    return int(record_id)
