"""Canonical events from histories written by hand."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
import pytest

from crm_attribution.clock import iso
from crm_attribution.transforms.events import deal_events, lifecycle_events
from crm_attribution_tests.transforms.histories import RULES, Change, at, source, stages

IN_ORDER = [
    ("subscriber", "lead_captured"),
    ("marketingqualifiedlead", "qualified_lead"),
    ("salesqualifiedlead", "sales_qualified_lead"),
    ("opportunity", "opportunity_created"),
    ("customer", "customer_won"),
    ("evangelist", "customer_expanded"),
]


def life(*changes: tuple[str, str | None] | tuple[str, str | None, str], **more: Any) -> list[dict[str, Any]]:
    told: list[Change] = [(when, "lifecyclestage", stage, *rest) for when, stage, *rest in changes]  # type: ignore[misc]
    return _rows(lifecycle_events(source("contacts", {"7": told}, **more), RULES.lifecycle, RULES))


def deal(*changes: Change, properties: dict[str, Any] | None = None, currency: str | None = "EUR"):
    given = source("deals", {"5": list(changes)}, {"5": properties or {}})
    return _rows(deal_events(given, stages(), RULES.deals, RULES, currency))


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.sort("observed_at", "event_id").rows(named=True)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['event']} <- {row['from_stage']}" for row in rows]


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_the_lifecycle_map_in_any_case(spelling: Any):
    changes = [(f"03-{day:02d}T09:00:00", spelling(stage)) for day, (stage, _) in enumerate(IN_ORDER, 1)]
    rows = life(*changes)
    assert [row["event"] for row in rows] == [event for _, event in IN_ORDER]
    assert [row["to_stage"] for row in rows] == [spelling(stage) for stage, _ in IN_ORDER], "stage as HubSpot stores it"


def test_lead_is_lead_captured_and_an_unknown_stage_is_a_change():
    rows = life(("03-01T09:00:00", "lead"), ("03-02T09:00:00", "84721553"), ("03-03T09:00:00", "other"))
    assert names(rows) == ["lead_captured <- None", "crm_stage_changed <- lead", "crm_stage_changed <- 84721553"]


def test_back_again_and_cleared():
    rows = life(
        ("03-01T09:00:00", "marketingqualifiedlead"),
        ("03-02T09:00:00", ""),
        ("03-03T09:00:00", "lead"),
        ("03-04T09:00:00", "marketingqualifiedlead"),
        ("03-05T09:00:00", "salesqualifiedlead"),
    )
    assert names(rows) == [
        "qualified_lead <- None",
        "lead_recycled <- None",
        "lead_recycled <- lead",
        "sales_qualified_lead <- marketingqualifiedlead",
    ]


def test_the_documented_ids():
    (row,) = life(("04-23T11:04:19", "marketingqualifiedlead"))
    assert row["event_id"] == hashlib.sha256(b"7:marketingqualifiedlead:2026-04-23T11:04:19Z").hexdigest()
    (sent,) = deal(("04-23T11:04:19.000", "dealstage", "contractsent"))
    assert (sent["event_id"], sent["event"]) == ("deal_5_contractsent_2026-04-23T11:04:19Z", "proposal_sent")


def test_every_deal_stage_of_the_map_and_of_the_metadata():
    told = {
        "appointmentscheduled": "meeting_scheduled",
        "qualifiedtobuy": "opportunity_qualified",
        "presentationscheduled": "demo_completed",
        "decisionmakerboughtin": "negotiation_started",
        "contractsent": "proposal_sent",
        "closedwon": "deal_won",
        "closedlost": "deal_lost",
        "s1": "crm_stage_changed",
        "s2": "deal_won",
        "s3": "deal_lost",
        "nobody knows": "crm_stage_changed",
    }
    for stage, event in told.items():
        (row,) = deal(("03-01T09:00:00", "dealstage", stage))
        assert row["event"] == event, stage
        assert row["pipeline"] == ("own" if stage in ("s1", "s2", "s3") else None if " " in stage else "default")


def test_lost_reopened_and_won_after_all():
    rows = deal(
        ("03-01T09:00:00", "dealstage", "contractsent"),
        ("03-02T09:00:00", "dealstage", "closedlost"),
        ("03-03T09:00:00", "dealstage", "qualifiedtobuy"),
        ("03-04T09:00:00", "dealstage", "closedwon"),
        ("03-05T09:00:00", "dealstage", "contractsent"),
        ("03-06T09:00:00", "dealstage", "closedwon"),
    )
    assert [row["event"] for row in rows] == [
        "proposal_sent", "deal_lost", "deal_reopened", "deal_won", "deal_reopened", "deal_won",
    ]  # fmt: skip
    assert [row["undone"] for row in rows] == [False, True, False, True, False, False]


def test_money_is_what_it_was_at_that_moment():
    rows = deal(
        ("03-01T09:00:00", "dealstage", "appointmentscheduled"),
        ("03-01T09:00:00", "amount", "1000"),
        ("03-01T09:00:00", "deal_currency_code", "JPY"),
        ("03-02T09:00:00", "dealstage", "contractsent"),
        ("03-02T09:00:00", "amount", "1200.50"),
        ("03-02T09:00:00", "deal_currency_code", "EUR"),
        ("03-03T09:00:00", "amount", ""),
        ("03-04T09:00:00", "dealstage", "closedwon"),
        ("03-05T09:00:00", "amount", "9"),
        properties={"amount": "9", "billing_period": "annual"},
    )
    assert [(row["amount"], row["currency"], row["arr"]) for row in rows] == [
        (1000, "JPY", 1000),
        (120050, "EUR", 120050),
        (None, "EUR", None),
    ]
    assert rows[2]["value_reason"].startswith("mrr: no property")


def test_a_property_without_history_counts_with_its_current_value():
    (row,) = deal(("03-01T09:00:00", "dealstage", "s1"), properties={"amount": "12", "hs_arr": "7.5"}, currency=None)
    assert (row["amount"], row["currency"]) == (None, None), "no currency, no amount"
    (row,) = deal(("03-01T09:00:00", "dealstage", "s1"), properties={"amount": "12", "hs_arr": "7.5"})
    assert (row["amount"], row["arr"], row["mrr"]) == (1200, 750, None)


@pytest.mark.parametrize(
    ("closed", "expected", "basis"),
    [
        ("2026-02-01T10:00:00Z", "2026-02-01T10:00:00Z", "closedate"),
        ("2026-04-01T10:00:00Z", "2026-03-01T09:00:00Z", "history"),
        ("1769940000000", "2026-02-01T10:00:00Z", "closedate"),
        ("next summer", "2026-03-01T09:00:00Z", "history"),
        ("", "2026-03-01T09:00:00Z", "history"),
    ],
)
@pytest.mark.parametrize("stage", ["closedwon", "closedlost"])
def test_created_already_closed_happened_at_the_close_date_if_that_is_earlier(
    stage: str, closed: str, expected: str, basis: str
):
    (row,) = deal(("03-01T09:00:00", "dealstage", stage), ("03-01T09:00:00", "closedate", closed))
    assert (iso(row["occurred_at"]), row["time_basis"]) == (expected, basis)
    assert iso(row["observed_at"]) == "2026-03-01T09:00:00Z"


def test_closed_later_happened_when_it_was_closed_unless_an_import_says_so():
    past: list[Change] = [("03-01T09:00:00", "dealstage", "s1"), ("03-01T09:00:00", "closedate", "2026-02-01")]
    assert iso(deal(*past, ("03-05T09:00:00", "dealstage", "s2"))[1]["occurred_at"]) == "2026-03-05T09:00:00Z"
    imported = deal(*past, ("03-05T09:00:00", "dealstage", "s2", "IMPORT"))[1]
    assert (iso(imported["occurred_at"]), imported["time_basis"]) == ("2026-02-01T00:00:00Z", "closedate")


def test_created_open_happened_at_its_createdate():
    (row,) = deal(("03-01T09:00:00", "dealstage", "s1"), properties={"createdate": "2024-05-06T07:08:09.120Z"})
    assert (iso(row["occurred_at"]), row["time_basis"]) == ("2024-05-06T07:08:09.120Z", "createdate")


def test_an_imported_stage_happened_when_the_record_says_it_became_so():
    dated = {"7": {"hs_lifecyclestage_customer_date": "2025-12-24T12:00:00Z"}}
    (row,) = life(("03-01T09:00:00", "customer", "IMPORT"), properties=dated)
    assert (iso(row["occurred_at"]), row["time_basis"]) == ("2025-12-24T12:00:00Z", "became_date")
    rows = life(("03-01T09:00:00", "lead"), ("03-02T09:00:00", "customer"), properties=dated)
    assert iso(rows[1]["occurred_at"]) == "2026-03-02T09:00:00Z", "a person did it in the CRM, at that moment"


def test_equal_times_keep_hubspots_order():
    same = "03-01T09:00:00"
    rows = life((same, "subscriber"), (same, "salesqualifiedlead"), (same, "opportunity"), ("03-02T09:00:00", "lead"))
    told = {row["to_stage"]: (row["event"], row["from_stage"]) for row in rows}
    assert told == {
        "subscriber": ("lead_captured", None),
        "salesqualifiedlead": ("sales_qualified_lead", "subscriber"),
        "opportunity": ("opportunity_created", "salesqualifiedlead"),
        "lead": ("lead_recycled", "opportunity"),
    }


def test_the_same_value_again_is_no_event():
    rows = life(("03-01T09:00:00", "lead"), ("03-02T09:00:00", "lead"), ("03-03T09:00:00", "customer"))
    assert names(rows) == ["lead_captured <- None", "customer_won <- lead"]
    assert rows[0]["left_at"] == at("03-03T09:00:00")
