"""Search against a plain reading of the same request, over random portals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.sandbox.instants import to_ms
from crm_attribution.sandbox.portal import Portal, parse_lines
from crm_attribution.sandbox.portal.query import parse
from crm_attribution.sandbox.portal.search import Searcher
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.sandbox.lines import create, update

START = datetime(2026, 3, 1, tzinfo=UTC)


def instant(minute: int) -> str:
    return (START + timedelta(minutes=minute)).isoformat()


writes = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=25)
bounds = st.tuples(
    st.sampled_from(["GT", "GTE", "LT", "LTE", "EQ"]),
    st.sampled_from(["lastmodifieddate", "hs_object_id"]),
    st.integers(0, 12),
)
groups = st.lists(st.lists(bounds, max_size=3), max_size=3)
HOLDS = {
    "GT": lambda one, other: one > other,
    "GTE": lambda one, other: one >= other,
    "LT": lambda one, other: one < other,
    "LTE": lambda one, other: one <= other,
    "EQ": lambda one, other: one == other,
}


def portal_of(changes: list[tuple[int, int]]) -> tuple[Portal, dict[int, int]]:
    """A portal, and the minute in which each contact was last modified."""
    minute, modified, lines = 0, {}, []
    for number, (identifier, pause) in enumerate(changes):
        minute += pause
        make = update if identifier in modified else create
        lines.append(make(instant(minute), "contacts", identifier, note=str(number)))
        modified[identifier] = minute
    return Portal(parse_lines(json.dumps(line) for line in lines), to_ms(instant(10_000))), modified


@given(writes, groups, st.sampled_from(["lastmodifieddate", "hs_object_id", ""]), st.booleans())
@settings(max_examples=150 * TIMES)
def test_search_finds_what_a_plain_reading_finds(
    changes: list[tuple[int, int]], wanted: list[list[tuple[str, str, int]]], sort: str, descending: bool
):
    portal, modified = portal_of(changes)
    direction = "DESCENDING" if descending else "ASCENDING"
    body: dict[str, Any] = {
        "limit": 200,
        "sorts": [{"propertyName": sort, "direction": direction}] if sort else [],
        "filterGroups": [
            {
                "filters": [
                    {
                        "operator": operator,
                        "propertyName": name,
                        "value": str(value if name == "hs_object_id" else to_ms(instant(value))),
                    }
                    for operator, name, value in group
                ]
            }
            for group in wanted
        ],
    }
    expected = [
        identifier
        for identifier, minute in modified.items()
        if not wanted
        or any(
            all(
                HOLDS[operator](identifier if name == "hs_object_id" else minute, value)
                for operator, name, value in group
            )
            for group in wanted
        )
    ]
    found = Searcher(portal.stores["contacts"], portal.graph).run(parse(body))
    numbers = [document.number for document in found.page]
    assert found.total == len(expected)
    assert sorted(numbers) == sorted(expected)
    if sort:
        keys = [(modified[n], n) if sort == "lastmodifieddate" else (0, n) for n in numbers]
        assert keys == sorted(keys, reverse=descending)


@given(writes, st.integers(0, 80), st.sampled_from(["lastmodifieddate", "hs_object_id"]), st.integers(0, 80))
@settings(max_examples=60 * TIMES)
def test_a_lagging_index_is_the_portal_of_that_moment(
    changes: list[tuple[int, int]], minute: int, sort: str, since: int
):
    now, _ = portal_of(changes)
    lines, clock, known = [], 0, set()
    for number, (identifier, pause) in enumerate(changes):
        clock += pause
        if clock <= minute:
            make = update if identifier in known else create
            lines.append(make(instant(clock), "contacts", identifier, note=str(number)))
            known.add(identifier)
    then = Portal(parse_lines(json.dumps(line) for line in lines), to_ms(instant(10_000)))
    window = {"propertyName": "lastmodifieddate", "operator": "GTE", "value": str(to_ms(instant(since)))}
    query = parse({"limit": 200, "sorts": [sort], "filterGroups": [{"filters": [window]}]})
    late = Searcher(now.stores["contacts"], now.graph, to_ms(instant(minute))).run(query)
    true = Searcher(then.stores["contacts"], then.graph).run(query)
    shown = [[(d.id, d.modified, d.value("note"), d.value("lastmodifieddate")) for d in f.page] for f in (late, true)]
    assert shown[0] == shown[1]
