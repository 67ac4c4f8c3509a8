"""Edges of the rules of milestones that no portal has to be told for: whole frames in, rows out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.events.rules.deal_milestones import (
    new_recurring,
    opportunities,
    passing_entries,
    possible_duplicates,
)
from crm_attribution.events.rules.echoes import _nearest_deals
from crm_attribution_tests.events.rules.histories import RULES
from crm_attribution_tests.helpers import at

BORN = at("03-01T00:00:00")
ARCHIVED = BORN + timedelta(days=10)
NEAR = timedelta(days=RULES.milestones.recreated_days)
TICK = timedelta(microseconds=1)
MOMENT = pl.Datetime("us", "UTC")


def test_entries_of_deals_in_pipelines_without_milestones():
    """Also of a deal without a pipeline; slips of other kinds and of other records are no entries."""
    given = [("default", "deals", "deal_won"), ("other", "deals", "deal_won"), (None, "deals", "deal_won"),
             ("other", "deals", "stage_skipped"), ("other", "contacts", "lead_captured")]  # fmt: skip
    events = pl.DataFrame(
        [{"pipeline": pipeline, "object_type": kind, "event": event, "record_id": place, "deal_id": 7,
          "account_id": "then", "person_id": None, "occurred_at": BORN}
         for place, (pipeline, kind, event) in enumerate(given)]
    )  # fmt: skip
    deals = pl.DataFrame({"deal_id": range(5), "account_id": "now"}).with_columns(
        pl.lit(None).alias(name)
        for name in ("archived", "closedate", "dealtype", "createdate", "stage_now", "pipeline_now")
    )
    assert passing_entries(events, deals, RULES.deals).rows() == [
        (1, "now", "deal_won", BORN), (2, "now", "deal_won", BORN),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("created", "more", "copy"),
    [
        (ARCHIVED + NEAR, {}, True),
        (ARCHIVED + NEAR + TICK, {}, False),
        (BORN + TICK, {}, True),
        (BORN, {}, False),
        (ARCHIVED, {"dealname": " big DEAL"}, True),
        (ARCHIVED, {"dealname": "Other"}, False),
        (ARCHIVED, {"dealname": None}, False),
        (ARCHIVED, {"currency": "EUR"}, False),
        (ARCHIVED, {"account_id": "b"}, False),
        (ARCHIVED, {"archived": True, "archived_at": ARCHIVED}, False),
    ],
)
def test_a_deal_like_one_archived_shortly_before_or_after_may_be_its_copy(
    created: datetime, more: dict[str, Any], copy: bool
):
    old = {"deal_id": 1, "account_id": "a", "dealname": "Big deal", "currency": None, "created_at": BORN,
           "archived": True, "archived_at": ARCHIVED}  # fmt: skip
    new = {**old, "deal_id": 2, "created_at": created, "archived": False, "archived_at": None, **more}
    deals = pl.DataFrame([old, new], schema_overrides={"currency": pl.String, "archived_at": MOMENT})
    rows = pl.DataFrame(
        [("customer_won", "w1", 1, "reversed", "archived"), ("customer_expanded", "w2", 2, "live", None),
         ("proposal_sent", "p1", 1, "reversed", "lost_after_won"), ("proposal_sent", "p2", 2, "live", None)],
        schema={"milestone": pl.String, "milestone_id": pl.String, "deal_id": pl.Int64, "state": pl.String,
                "reason": pl.String},
        orient="row",
    )  # fmt: skip
    found = possible_duplicates(rows, deals, RULES).select("milestone_id", "possible_duplicate_of").rows()
    assert found == [("w1", None), ("w2", "w1" if copy else None), ("p1", None), ("p2", None)]


def test_an_opportunity_is_dated_at_the_creation_it_began_with_and_never_after_a_stage():
    """(began, createdate, days of the entries) -> when, and how that is known."""
    day, tick = timedelta(days=1), timedelta(days=3)
    cases = {
        1: (True, BORN, [2], BORN, "createdate"),
        2: (False, BORN, [2], BORN + 2 * day, "history"),
        3: (True, None, [2], BORN + 2 * day, "history"),
        4: (True, BORN + tick, [4, 1], BORN + day, "backdated"),
        5: (False, BORN, [2, 1], BORN + day, "backdated"),
    }
    rows: list[dict[str, Any]] = [
        {"deal_id": deal, "event_id": f"e{deal}{place}", "event": "proposal_sent", "occurred_at": BORN + days * day,
         "observed_at": BORN + place * day, "time_basis": "history", "began": began, "createdate": created,
         "account_id": "a", "archived": False, "linked_event_ids": [], "_chapter": "new"}
        for deal, (began, created, entries, *_) in cases.items() for place, days in enumerate(entries)
    ]  # fmt: skip
    changes: dict[str, Any] = {
        **dict.fromkeys(("event", "event_id", "_outcome", "_group", "_chapter"), pl.String),
        **{"observed_at": MOMENT, "deal_id": pl.Int64, "_deal_id": pl.Int64},
    }
    deals = pl.DataFrame(rows, schema_overrides={"createdate": MOMENT, "linked_event_ids": pl.List(pl.String)})
    found = opportunities(deals, pl.DataFrame(schema=changes)).sort("deal_id")
    assert found.select("deal_id", "occurred_at", "time_basis").rows() == [
        (deal, when, basis) for deal, (*_, when, basis) in cases.items()
    ]


def test_a_renewal_adds_what_differs_from_the_last_one_and_the_wins_since():
    """In the order of time, of one instant wins last; what was lost, and other accounts, are no part of it."""
    told = [
        ("z", 0, "customer_won", "new", "live", "EUR", 100),
        ("y", 1, "customer_expanded", "expansion", "live", "EUR", 20),
        ("x", 2, "customer_expanded", "expansion", "reversed", "EUR", 7),
        ("w", 3, "customer_expanded", "renewal", "live", "EUR", 150),
        ("v", 4, "customer_expanded", "expansion", "live", "EUR", 10),
        ("u", 5, "opportunity_created", "renewal", "live", "EUR", 155),
        ("t", 5, "customer_expanded", "renewal", "live", "EUR", 170),
        ("s", 6, "customer_expanded", "renewal", "live", "USD", 180),
        ("r", 7, "customer_expanded", "expansion", "live", "USD", None),
        ("q", 8, "customer_expanded", "renewal", "live", "USD", 200),
    ]
    columns = ["milestone_id", "occurred_at", "milestone", "subtype", "state", "currency", "mrr_current"]
    mine = pl.DataFrame(told, schema=columns, orient="row").with_columns(account_id=pl.lit("a"))
    other = [("o", 0, "customer_won", "renewal", "live", "EUR", 40),
             ("n", 1, "opportunity_created", "renewal", "live", "EUR", 45)]  # fmt: skip
    theirs = pl.DataFrame(other, schema=columns, orient="row").with_columns(account_id=pl.lit("b"))
    alone = theirs.filter(pl.col("milestone_id") == "n").with_columns(milestone_id=pl.lit("m"), account_id=pl.lit("c"))
    rows = pl.concat([alone, theirs, mine]).with_columns(arr_current=12 * pl.col("mrr_current"))
    found = new_recurring(rows)
    assert found["milestone_id"].to_list() == rows["milestone_id"].to_list()
    assert dict(found.select("milestone_id", "mrr_new").rows()) == {
        "z": 100, "y": 20, "x": 7, "w": 150 - 120, "v": 10, "u": 155 - 160, "t": 170 - 160, "s": None, "r": None,
        "q": None, "o": 40, "n": 45 - 40, "m": None,
    }  # fmt: skip
    assert (
        found.filter(pl.col("mrr_new").is_not_null()).select((pl.col("arr_new") == 12 * pl.col("mrr_new")).all()).item()
    )


def test_of_several_deals_a_change_repeats_the_earliest_that_tells_it_else_that_takes_it_over():
    """An echo before an adoption, then by the day of the deal, of one day the smaller id; both windows end inside."""
    echo, adopt, far = timedelta(hours=24), timedelta(days=90), timedelta(days=200)
    deals = {  # account: (deal, its stage and its creation after the change)
        "a": [(5, echo + TICK, TICK), (4, echo, TICK), (3, echo, TICK), (9, -TICK, TICK)],
        "b": [(6, far, adopt + TICK), (8, 2 * far, adopt), (7, far + TICK, adopt)],
        "c": [(2, far, adopt + TICK), (1, far, adopt + TICK)],
    }
    starts = pl.DataFrame(
        [{"event": "customer_won", "account_id": account, "_deal_id": deal, "_chapter": "new",
          "_deal_at": BORN + told, "_begun_at": BORN + begun}
         for account, found in deals.items() for deal, told, begun in found]
    )  # fmt: skip
    changes = pl.DataFrame(
        [{"event_id": account, "event": "customer_won", "occurred_at": BORN, "account_id": account, "person_id": None}
         for account in ("a", "b", "c", "d")], schema_overrides={"person_id": pl.String}
    )  # fmt: skip
    persons = pl.DataFrame(schema={"deal_id": pl.Int64, "person_id": pl.String, "until": MOMENT})
    columns = ["event_id", "_deal_id", "_echo", "_adopts"]
    assert _nearest_deals(changes, starts, persons, echo, adopt).select(columns).rows() == [
        ("a", 9, True, True), ("b", 7, False, True), ("c", 1, False, False), ("d", None, None, None),
    ]  # fmt: skip
    later = starts.filter(pl.col("_deal_id") != 9)
    assert _nearest_deals(changes, later, persons, echo, adopt)["_deal_id"][0] == 3
