"""Canonical events from histories written by hand."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
import pytest

from crm_attribution.clock import iso
from crm_attribution.events.rules.deal_events import _price_moments, deal_events
from crm_attribution.events.rules.events import Source
from crm_attribution.events.rules.lifecycle_events import lifecycle_events
from crm_attribution_tests.events.rules.histories import RULES, Change, source, stages
from crm_attribution_tests.helpers import at

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


def deal(
    *changes: Change, properties: dict[str, Any] | None = None, currency: str | None = "EUR", everything: bool = False
):
    """The deal's events; stages jumped over and changes of price only where `everything` is asked for."""
    given = source("deals", {"5": list(changes)}, {"5": properties or {}})
    rows = _rows(deal_events(given, stages(), RULES.deals, RULES, currency))
    return [row for row in rows if everything or row["event"] not in ("stage_skipped", "deal_amount_changed")]


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
        "proposal_sent", "deal_lost", "opportunity_qualified", "deal_reopened", "deal_won", "deal_reopened", "deal_won",
    ]  # fmt: skip
    assert [row["undone"] for row in rows] == [False, True, False, False, True, False, False]


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
        "marketingqualifiedlead": ("stage_skipped", "subscriber"),
        "salesqualifiedlead": ("sales_qualified_lead", "subscriber"),
        "opportunity": ("opportunity_created", "salesqualifiedlead"),
        "lead": ("lead_recycled", "opportunity"),
    }


def test_the_same_value_again_is_no_event():
    rows = life(("03-01T09:00:00", "lead"), ("03-02T09:00:00", "lead"), ("03-03T09:00:00", "marketingqualifiedlead"))
    assert names(rows) == ["lead_captured <- None", "qualified_lead <- lead"]
    assert rows[0]["left_at"] == at("03-03T09:00:00")


def test_each_stage_jumped_over_is_an_event_of_its_own():
    rows = life(("03-01T09:00:00", "lead"), ("03-02T09:00:00", "opportunity"), ("03-03T09:00:00", "Customer"))
    assert sorted((row["event"], row["to_stage"], row["from_stage"]) for row in rows) == [
        ("customer_won", "Customer", "opportunity"),
        ("lead_captured", "lead", None),
        ("opportunity_created", "opportunity", "lead"),
        ("stage_skipped", "marketingqualifiedlead", "lead"),
        ("stage_skipped", "salesqualifiedlead", "lead"),
    ]
    assert life(("03-01T09:00:00", "customer"))[0]["event"] == "customer_won", "the first stage skips nothing"
    told = deal(
        ("03-01T09:00:00", "dealstage", "appointmentscheduled"),
        ("03-02T09:00:00", "dealstage", "presentationscheduled"),
        ("03-03T09:00:00", "dealstage", "qualifiedtobuy"),
        ("03-04T09:00:00", "dealstage", "closedwon"),
        everything=True,
    )
    assert [row["event"] for row in told if row["event"] != "stage_skipped"] == [
        "meeting_scheduled", "demo_completed", "opportunity_qualified", "deal_reopened", "deal_won",
    ]  # fmt: skip
    assert {row["event_id"] for row in told if row["event"] == "stage_skipped"} == {
        "deal_5_skipped_qualifiedtobuy_2026-03-02T09:00:00Z",
        "deal_5_skipped_decisionmakerboughtin_2026-03-04T09:00:00Z",
        "deal_5_skipped_contractsent_2026-03-04T09:00:00Z",
    }


def test_a_lead_status_that_means_recycled_unless_the_stage_says_it():
    told: list[Change] = [
        ("03-01T09:00:00", "lifecyclestage", "lead"),
        ("03-02T09:00:00", "lifecyclestage", "salesqualifiedlead"),
        ("03-05T09:00:00", "hs_lead_status", "RECYCLED"),
        ("03-06T09:00:00", "hs_lead_status", "OPEN"),
        ("03-07T09:00:00", "lifecyclestage", "lead"),
        ("03-07T09:30:00", "hs_lead_status", "Recycled"),
        ("03-09T09:00:00", "hubspot_owner_id", "7"),
        ("03-10T09:00:00", "hs_lead_status", "open"),
        ("03-12T09:00:00", "hs_lead_status", "recycled"),
    ]
    rows = _rows(lifecycle_events(source("contacts", {"7": told}), RULES.lifecycle, RULES))
    recycled = [row for row in rows if row["event"] == "lead_recycled"]
    assert [(iso(row["observed_at"])[5:10], row["to_stage"], row["owner_id"]) for row in recycled] == [
        ("03-05", "RECYCLED", None),
        ("03-07", "lead", None),
        ("03-12", "recycled", "7"),
    ]
    assert recycled[0]["event_id"] == hashlib.sha256(b"7:hs_lead_status:RECYCLED:2026-03-05T09:00:00Z").hexdigest()


def test_a_price_that_changes_is_an_event_with_both_prices():
    rows = deal(
        ("03-01T09:00:00", "dealstage", "appointmentscheduled"),
        ("03-01T10:00:00", "amount", "1000"),
        ("03-02T09:00:00", "amount", "1000.00"),
        ("03-03T09:00:00", "amount", "1200"),
        ("03-03T09:00:00", "deal_currency_code", "USD"),
        ("03-04T09:00:00", "amount", ""),
        ("03-05T09:00:00", "dealstage", "closedwon"),
        ("03-05T09:10:00", "amount", "1500"),
        everything=True,
    )
    priced = [row for row in rows if row["event"] == "deal_amount_changed"]
    assert {row["time_basis"] for row in priced} == {"history"}
    shown = ["event_id", "amount_before", "currency_before", "amount", "currency", "to_stage"]
    assert [tuple(row[name] for name in shown) for row in priced] == [
        ("deal_5_amount_2026-03-03T09:00:00Z", 100000, "EUR", 120000, "USD", "appointmentscheduled"),
        ("deal_5_amount_2026-03-04T09:00:00Z", 120000, "USD", None, "USD", "appointmentscheduled"),
        ("deal_5_amount_2026-03-05T09:10:00Z", None, "USD", 150000, "USD", "closedwon"),
    ]  # fmt: skip
    untracked = [
        ("03-01T09:00:00", "dealstage", "s1"),
        ("03-01T09:00:00", "amount", "1"),
        ("03-02T09:00:00", "amount", "2"),
    ]
    assert [row["event"] for row in deal(*untracked, everything=True)] == ["crm_stage_changed"]


def test_the_amount_a_deal_is_made_with_is_no_change_of_it():
    made = [("03-01T09:00:00", "dealstage", "appointmentscheduled"), ("03-01T09:00:00", "amount", "1000")]
    assert [row["event"] for row in deal(*made, everything=True)] == ["meeting_scheduled"]


def test_what_nobody_says_who_wrote_is_an_event_like_any_other():
    rows = deal(("03-01T09:00:00", "dealstage", "appointmentscheduled", None))
    assert [(row["event"], row["source"]) for row in rows] == [("meeting_scheduled", None)]


def test_of_two_writes_of_one_moment_the_later_says_who_wrote_and_a_copy_does_not():
    moment = at("03-03T09:00:00")
    written = [("amount", 1, "CRM_UI", False), ("deal_currency_code", 0, "API", False), ("amount", 2, "MERGE", True)]
    rows = [
        {"object_id": 5, "record_id": 5, "timestamp": moment, "property": name, "ordinal": ordinal, "copied": copied,
         "source_type": source, "by_merge": False, "born": copied}
        for name, ordinal, source, copied in written
    ]  # fmt: skip
    for given in (rows, rows[::-1]):
        (found,) = _price_moments(pl.DataFrame(given)).rows(named=True)
        assert (found["source"], found["emits"]) == ("CRM_UI", True)
    (copy,) = _price_moments(pl.DataFrame(rows[2:])).rows(named=True)
    assert (copy["source"], copy["emits"]) == ("MERGE", False)


def test_what_the_cap_cut_off_is_told_by_the_date_of_entry():
    told = source(
        "contacts",
        {
            "7": [
                ("03-10T09:00:00", "lifecyclestage", "salesqualifiedlead"),
                ("03-11T09:00:00", "lifecyclestage", "lead"),
            ]
        },
        {
            "7": {
                "hs_v2_date_entered_lead": "2026-03-01T09:00:00Z",
                "hs_v2_date_entered_opportunity": "2026-03-20T09:00:00Z",
            }
        },
    )
    whole = _rows(lifecycle_events(told, RULES.lifecycle, RULES))
    assert [row["event"] for row in whole] == ["sales_qualified_lead", "lead_recycled"], "nothing was cut off"
    cut = Source(told.object_type, told.records, told.history.with_columns(history_truncated=True), told.live)
    rows = _rows(lifecycle_events(cut, RULES.lifecycle, RULES))
    assert [(row["event"], row["to_stage"], row["time_basis"]) for row in rows if row["event"] != "stage_skipped"] == [
        ("lead_captured", "lead", "date_entered"),
        ("sales_qualified_lead", "salesqualifiedlead", "history"),
        ("lead_recycled", "lead", "history"),
    ]
    deals = source("deals", {"5": [("03-10T09:00:00", "dealstage", "closedwon")]},
                   {"5": {"hs_v2_date_entered_s1": "2026-03-02T09:00:00Z"}})  # fmt: skip
    cut = Source("deals", deals.records, deals.history.with_columns(history_truncated=True), {})
    first, last = _rows(deal_events(cut, stages(), RULES.deals, RULES, "EUR"))
    assert (first["event_id"], first["time_basis"]) == ("deal_5_s1_2026-03-02T09:00:00Z", "date_entered")
    assert last["from_stage"] == "s1"
