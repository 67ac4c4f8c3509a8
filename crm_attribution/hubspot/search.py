"""Which records changed: a keyset walk over HubSpot's search.

Facts behind it (https://developers.hubspot.com/docs/api-reference/search/guide): 200 results a page, one sort,
a request body of at most 3,000 characters, and an error beyond the first 10,000 results of a query. `after` is
an offset into a live result set, so a record that changes while we page shifts everything behind it.

So the walk never sends `after`. It keeps the window on the modified property and pages by record id, `id > last
page's highest`. Ids are unique and do not change, which the modified time is not (a bulk change stamps
thousands of records with one millisecond) and does (a change moves the record): no ties, no overlap between
pages, no position that shifts, and exactly ⌈N/200⌉ calls whatever the clustering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_attribution.clock import from_millis, parse_instant, to_millis
from crm_attribution.errors import Rejected, Retryable
from crm_attribution.hubspot.paging import Record, next_after, rows

PAGE = 200

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
    """Pages of `[since, until)` by ascending id, each record once.

    A record that changes during the walk to a time outside the window leaves it: it belongs to the next one.
    """

    def __init__(
        self, ask: Callable[[Record], Record], object_type: str, since: datetime | None, until: datetime
    ) -> None:
        self._ask = ask
        self._prop = modified_property(object_type)
        self._where = f"hubspot search {object_type}"
        self._window = window_filters(self._prop, since, until)
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
        last = 0
        while True:
            answer = self._ask(self._query(last))
            page = [self._changed(row) for row in rows(answer, self._where, need="id")]
            total = answer.get("total")
            counted = total if isinstance(total, int) else len(page)
            if self._total is None:
                self._total = counted
            if page:
                if min(_number(c.id, self._where) for c in page) <= last:
                    raise Retryable(f"{self._where}: paging does not advance (ids are not above those asked for)")
                yield page
                last = max(int(c.id) for c in page)
            if next_after(answer) is None and counted <= len(page):
                return
            if not page:
                raise Retryable(f"{self._where}: {counted} results counted, none returned")

    def _query(self, last: int) -> Record:
        beyond = [_filter("hs_object_id", "GT", last)] if last else []
        return {
            "filterGroups": [{"filters": self._window + beyond}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
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
        except ValueError:
            raise Rejected(f"{self._where}: a result has no readable {self._prop}") from None


def _filter(prop: str, operator: str, value: int) -> Filter:
    return {"propertyName": prop, "operator": operator, "value": str(value)}


def _number(record_id: str, where: str) -> int:
    if not record_id.isdigit():
        raise Rejected(f"{where}: a record id is not a number")
    return int(record_id)
