"""The keyset walk against a search that enforces HubSpot's documented limits, without HTTP."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.clock import from_millis, iso, to_millis
from crm_attribution.errors import Rejected, Retryable
from crm_attribution.hubspot.search import Changed, ChangeFeed, walk_pages
from crm_attribution_tests.laws import TIMES

START = datetime(2026, 4, 1, tzinfo=UTC)
UNTIL = START + timedelta(hours=2)


class Search:
    """Records by id with their modified milliseconds."""

    def __init__(self, records: dict[str, int]) -> None:
        self.records = records
        self.bodies: list[dict[str, Any]] = []
        self.change: Callable[[], None] = lambda: None

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        self.change()
        self.bodies.append(body)
        assert len(json.dumps(body)) <= 3000
        assert set(body) == {"filterGroups", "sorts", "limit", "properties"}
        assert body["limit"] == 200
        assert body["properties"] == ["lastmodifieddate"]
        (sort,) = body["sorts"]
        if sort["direction"] == "DESCENDING":
            assert (sort["propertyName"], body["filterGroups"]) == ("lastmodifieddate", [])
            found = sorted(((int(r), m) for r, m in self.records.items()), key=lambda row: (-row[1], row[0]))
        else:
            assert sort["propertyName"] == "hs_object_id"
            (group,) = body["filterGroups"]
            bounds = {(f["propertyName"], f["operator"]): int(f["value"]) for f in group["filters"]}
            low, high = bounds.pop(("lastmodifieddate", "GTE"), 0), bounds.pop(("lastmodifieddate", "LT"))
            beyond = bounds.pop(("hs_object_id", "GT"), 0)
            assert not bounds
            found = sorted((int(r), m) for r, m in self.records.items() if int(r) > beyond and low <= m < high)
        page = found[:200]
        results = [{"id": str(r), "properties": {"lastmodifieddate": iso(from_millis(m))}} for r, m in page]
        paging = {"paging": {"next": {"after": str(len(page))}}} if len(found) > len(page) else {}
        return {"total": len(found), "results": results, **paging}


def feed(search: Callable[[dict[str, Any]], dict[str, Any]], since: datetime | None = START) -> ChangeFeed:
    return ChangeFeed(search, "contacts", since, UNTIL)


def everything(changes: ChangeFeed) -> list[Changed]:
    return [*changes.newest, *(change for page in changes.older() for change in page)]


def walked(search: Search, since: datetime | None = START) -> list[Changed]:
    return everything(feed(search, since))


def records(count: int, per_moment: int, first_id: int = 80_000_000_000) -> dict[str, int]:
    begin = to_millis(START)
    return {str(first_id + i): begin + 7 * (i // per_moment) for i in range(count)}


def test_idle_is_one_call_and_tells_how_many_records_there_are():
    search = Search(dict.fromkeys(map(str, range(1, 1_000)), to_millis(START) - 1))
    changes = feed(search)
    assert (everything(changes), changes.live, changes.total) == ([], 999, 0)
    assert len(search.bodies) == 1


def test_the_total_costs_no_call():
    search = Search(records(300, 1))
    changes = feed(search)
    assert changes.total == 300
    assert changes.total == 300
    assert len(everything(changes)) == 300
    assert len(search.bodies) == 2
    empty = feed(Search({}))
    assert (empty.total, everything(empty)) == (0, [])


@pytest.mark.parametrize("per_moment", [1, 25_000])
def test_twenty_five_thousand_cost_the_floor_however_they_cluster(per_moment):
    search = Search(records(25_000, per_moment))
    assert Counter(c.id for c in walked(search)) == Counter(search.records.keys())
    assert len(search.bodies) <= math.ceil(25_000 / 200) + 1


@pytest.mark.parametrize("count", [1, 199, 200, 201, 399])
def test_pages_end_without_an_empty_call(count):
    search = Search(records(count, 1))
    assert len(walked(search, None)) == count
    assert len(search.bodies) == math.ceil(count / 200)


@given(
    stamps=st.lists(st.integers(-3, 3), max_size=700),
    since=st.one_of(st.none(), st.integers(-2, 2)),
    broken_after=st.integers(0, 3),
)
@settings(max_examples=60 * TIMES)
def test_what_is_found_is_what_is_in_the_window_also_when_the_walk_is_taken_up_again(stamps, since, broken_after):
    begin = to_millis(START)
    search = Search({str(n): begin + stamp for n, stamp in enumerate(stamps, 1)})
    bound = None if since is None else START + timedelta(milliseconds=since)
    changes = feed(search, bound)
    found = list(changes.newest)
    walk = changes.walk
    if walk is not None:
        pages = changes.older()
        for page in islice(pages, broken_after):
            found += page
            walk = replace(walk, last_id=int(page[-1].id))
        found += [change for page in walk_pages(search, "contacts", walk) for change in page]
    wanted = [str(n) for n, stamp in enumerate(stamps, 1) if since is None or stamp >= since]
    assert sorted((c.id for c in found), key=int) == wanted


def test_the_window_begins_with_its_lower_bound():
    at = {"1": START - timedelta(milliseconds=1), "2": START, "3": UNTIL - timedelta(milliseconds=1)}
    search = Search({key: to_millis(moment) for key, moment in at.items()})
    assert [c.id for c in walked(search)] == ["3", "2"]
    assert [c.id for c in walked(search, None)] == ["3", "2", "1"]
    assert walked(search)[0].modified == UNTIL - timedelta(milliseconds=1)


@given(seed=st.integers(0, 999))
@settings(max_examples=40 * TIMES)
def test_a_result_set_that_moves_loses_nothing(seed):
    """Records change while we page: they leave the window, and all others are found."""
    rng = random.Random(seed)
    search = Search(records(1_500, rng.choice([1, 30, 500])))
    moved: set[str] = set()
    target = to_millis(UNTIL) + 5

    def change() -> None:
        some = rng.sample(sorted(search.records), 40)
        search.records.update(dict.fromkeys(some, target))
        moved.update(some)

    search.change = change
    counted = Counter(c.id for c in walked(search))
    assert set(counted.values()) == {1}
    assert counted.keys() >= search.records.keys() - moved


def test_a_search_that_does_not_advance_is_an_error():
    first = {"total": 400, "results": [{"id": "5", "updatedAt": "2026-04-01T00:00:00Z"}]}
    with pytest.raises(Retryable, match="does not advance"):
        everything(feed(lambda _: first))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"results": None},
        {"results": ["a"]},
        {"total": 1, "results": [{"id": "1", "properties": {}}]},
        {"total": 1, "results": [{"properties": {"lastmodifieddate": "2026-04-01T00:00:00Z"}}]},
        {"total": 1, "results": [{"id": "1", "properties": {"lastmodifieddate": "yesterday"}}]},
        {"total": 1, "results": [{"id": "x", "properties": {"lastmodifieddate": "2026-04-01T00:00:00Z"}}]},
    ],
)
def test_an_answer_of_another_shape_is_rejected(answer):
    with pytest.raises(Rejected):
        everything(feed(lambda _: answer))


def test_counted_but_not_returned_is_an_error():
    with pytest.raises(Retryable, match="5 results counted, none returned"):
        everything(feed(lambda _: {"total": 5, "results": []}))


def test_stamps_may_be_milliseconds_or_the_records_own():
    rows = [
        {"id": 7, "properties": {"lastmodifieddate": "1775001600123"}},
        {"id": "8", "properties": None, "updatedAt": "2026-04-01T00:00:01.5Z"},
    ]
    page = feed(lambda _: {"total": 2, "results": rows}).newest
    assert [(c.id, iso(c.modified)) for c in page] == [
        ("7", "2026-04-01T00:00:00.123Z"),
        ("8", "2026-04-01T00:00:01.500Z"),
    ]
