"""Clicks of any source as rows: refused one by one, kept as they came, whatever comes."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crm_attribution.clock import iso
from crm_attribution.sources.link_clicks import SOURCE
from crm_attribution_tests.hubspot.test_parse import NOW, anything
from crm_attribution_tests.laws import TIMES

GOOD = {"click_id": "k", "clicked_at": "2026-03-20T12:00:00Z", "destination_url": "https://v.example/"}


def parsed(*rows: dict[str, Any]):
    return SOURCE.parse([(f"row {n}", row) for n, row in enumerate(rows, 1)], extracted_at=NOW)


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({"click_id": " "}, "row 2", "click_id:missing"),
        ({"clicked_at": None}, "k", "clicked_at:missing"),
        ({"clicked_at": "noon"}, "k", "clicked_at:not_a_time"),
        ({"destination_url": ""}, "k", "destination_url:missing"),
        ({"click_id": {"id": "k"}}, "row 2", "click_id:missing"),
        ({"clicked_at": iso(NOW + timedelta(days=1, seconds=1))}, "k", "clicked_at:in_the_future"),
    ],
)
def test_a_bad_row_is_refused_alone(change: dict[str, Any], key: str, reason: str):
    found = parsed({**GOOD, "click_id": "good"}, {**GOOD, **change})
    assert found.rows["click_id"].to_list() == ["good"]
    (refused,) = found.refused
    assert (refused.key, refused.reasons, refused.source, refused.stored) == (key, reason, "row 2", False)
    assert json.loads(refused.row) == {**GOOD, **change}


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"contact_id": "ann@a.example"}, "contact_id", "contact_id:not_a_record_id"),
        ({"link_tags": 7}, "link_tags", "link_tags:not_a_list"),
        ({"gclid": "{gclid}"}, "gclid", "gclid:not_a_click_id"),
        ({"country": ["DE"]}, "country", "country:not_a_text"),
    ],
)
def test_a_bad_field_is_left_out_and_the_click_stays(change: dict[str, Any], column: str, reason: str):
    found = parsed({**GOOD, **change})
    assert found.rows[column].to_list() == [None]
    assert [(refused.reasons, refused.stored) for refused in found.refused] == [(reason, True)]


def test_a_clock_may_be_a_day_ahead():
    ahead = parsed({**GOOD, "clicked_at": iso(NOW + timedelta(days=1))})
    assert (ahead.rows.height, ahead.refused) == (1, [])


def test_a_click_without_a_readable_time_of_receipt_was_received_when_it_happened():
    found = parsed({**GOOD, "received_at": "0001-01-01T00:00:00+14:00"})
    assert found.rows["received_at"].to_list() == found.rows["clicked_at"].to_list()
    assert [(refused.reasons, refused.stored) for refused in found.refused] == [("received_at:not_a_time", True)]


def test_what_the_row_does_not_say_the_address_does():
    url = "https://v.example/?eid=12&gclid=G&utm_source=google&utm_medium=cpc"
    (row,) = parsed({**GOOD, "destination_url": url, "utm_medium": "email"}).rows.rows(named=True)
    assert [row[name] for name in ("contact_id", "gclid", "utm_source", "utm_medium")] == [12, "G", "google", "email"]
    assert iso(row["received_at"]) == GOOD["clicked_at"], "without a time of its own"


@pytest.mark.parametrize("tags", [["ads", "q1"], '["ads", "q1"]', "ads,q1", " ads , q1 "])
def test_tags_in_every_spelling(tags: Any):
    assert parsed({**GOOD, "link_tags": tags}).rows["link_tags"].to_list() == [["ads", "q1"]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"received_at": "2026-03-21T00:00:00Z", "country": "AT"}, {"received_at": "2026-03-22T00:00:00Z"}),
        ({"country": "AT"}, {}),
        ({"country": "AT"}, {"country": "DE"}),
    ],
)
def test_a_click_told_twice_counts_as_first_received_in_any_order(one: dict[str, Any], other: dict[str, Any]):
    """Of two received at one instant the one that says more, then the smaller one."""
    for rows in (({**GOOD, **one}, {**GOOD, **other}), ({**GOOD, **other}, {**GOOD, **one})):
        assert parsed(*rows).rows["country"].to_list() == ["AT"]


def test_no_rows():
    assert parsed().rows.is_empty()


@settings(max_examples=100 * TIMES)
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
    whole = sum(not refused.stored for refused in found.refused)
    assert found.rows.height + whole == (1 if strange.get("click_id") == "good" else 2)
