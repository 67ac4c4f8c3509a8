"""Clicks of any source as rows: refused one by one, kept as they came, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crm_attribution.clock import iso
from crm_attribution.sources.link_clicks import SOURCE
from crm_attribution_tests.hubspot.test_parse import NOW, anything

GOOD = {"click_id": "k", "clicked_at": "2026-03-20T12:00:00Z", "destination_url": "https://v.example/"}


def parsed(*rows: dict[str, Any]):
    return SOURCE.parse([(f"row {n}", row) for n, row in enumerate(rows, 1)], extracted_at=NOW)


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({"click_id": " "}, "row 2", "click_id:missing"),
        ({"clicked_at": None}, "k", "clicked_at:missing"),
        ({"clicked_at": "noon"}, "k", "clicked_at:not_a_time"),
        ({"received_at": "0001-01-01T00:00:00+14:00"}, "k", "received_at:not_a_time"),
        ({"destination_url": ""}, "k", "destination_url:missing"),
        ({"contact_id": "ann@a.example"}, "k", "contact_id:not_a_record_id"),
        ({"link_tags": 7}, "k", "row:TypeError"),
    ],
)
def test_a_bad_row_is_refused_alone(change: dict[str, Any], key: str, reason: str):
    found = parsed({**GOOD, "click_id": "good"}, {**GOOD, **change})
    assert found.rows["click_id"].to_list() == ["good"]
    (refused,) = found.refused
    assert (refused.key, refused.reasons, refused.source) == (key, reason, "row 2")
    assert json.loads(refused.row) == {**GOOD, **change}


def test_what_the_row_does_not_say_the_address_does():
    url = "https://v.example/?eid=12&gclid=G&utm_source=google&utm_medium=cpc"
    (row,) = parsed({**GOOD, "destination_url": url, "utm_medium": "email"}).rows.rows(named=True)
    assert [row[name] for name in ("contact_id", "gclid", "utm_source", "utm_medium")] == [12, "G", "google", "email"]
    assert iso(row["received_at"]) == GOOD["clicked_at"], "without a time of its own"


@pytest.mark.parametrize("tags", [["ads", "q1"], '["ads", "q1"]', "ads,q1", " ads , q1 "])
def test_tags_in_every_spelling(tags: Any):
    assert parsed({**GOOD, "link_tags": tags}).rows["link_tags"].to_list() == [["ads", "q1"]]


def test_a_click_told_twice_counts_with_its_last_telling():
    rows = parsed({**GOOD, "country": "DE"}, {**GOOD, "country": "AT"}).rows
    assert rows["country"].to_list() == ["AT"]


def test_no_rows():
    assert parsed().rows.is_empty()


@settings(max_examples=100, deadline=None)
@given(
    strange=st.dictionaries(
        st.sampled_from([*GOOD, "received_at", "contact_id", "gclid", "link_tags", "method"]), anything
    )
)
@example(strange={"gclid": "\ud800"})
@example(strange={"click_id": "\ud800", "clicked_at": "x"})
@example(strange={"destination_url": "http://[::1"})
def test_no_row_stops_the_others(strange: dict[str, Any]):
    found = parsed({**GOOD, "click_id": "good"}, {**GOOD, **strange})
    assert "good" in found.rows["click_id"].to_list()
    assert found.rows.height + len(found.refused) == (1 if strange.get("click_id") == "good" else 2)
