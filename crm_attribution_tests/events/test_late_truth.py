"""What is learned late: told with its own observed_at, and nothing recomputed but what it touches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crm_attribution.layers import LAYERS
from crm_attribution_tests.flow.chain import Chain
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import create, day, join, update

pytestmark = pytest.mark.sandbox


def _rows(chain: Chain, name: str) -> dict[str, dict[str, Any]]:
    """Rows by event id, milestones by deal and name."""
    rows = chain.table(name)
    return {row["event_id"] if name == "events.event" else f"{row['deal_id']}|{row['milestone']}": row for row in rows}


def _changed(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> set[str]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def test_a_win_of_last_year_moves_its_own_account_only(tmp_path: Path):
    lines = [
        *(create(day(1), "companies", n, name=f"C{n}") for n in range(1, 9)),
        *(create(day(2), "deals", n, dealname=f"D{n}", dealstage="closedwon") for n in range(1, 9)),
        *(join(day(2), ("deals", n), ("companies", n)) for n in range(1, 9)),
        create(day(10), "deals", 20, "IMPORT", dealname="Old", dealstage="closedwon", closedate="2025-05-01T09:00:00Z"),
        join(day(10), ("deals", 20), ("companies", 3)),
        update(day(10), "deals", 5, amount="10"),
    ]
    with Chain.start(tmp_path, lines, day(5)) as chain:
        chain.run()
        events, before = _rows(chain, "events.event"), _rows(chain, "events.milestone")
        changed = chain.advance(day(11), since=at(day(5)))
        late = "deal_20_closedwon_2026-03-10T09:00:00Z"
        repriced = "deal_5_amount_2026-03-10T09:00:00Z"
        told, after = _rows(chain, "events.event"), _rows(chain, "events.milestone")
        assert _changed(events, told) == {late, repriced}
        assert told[late]["occurred_at"] == at("2025-05-01T09:00:00Z")
        assert told[late]["observed_at"] == at(day(10))
        assert {key.split("|")[0] for key in _changed(before, after)} == {"3", "5", "20"}
        assert {"20|customer_won", "3|customer_expanded"} <= after.keys()
        assert changed[2:4] == [2, 5]
        assert chain.run(since=at(day(10))) == [0] * len(LAYERS)


def test_a_deal_deleted_and_recreated_may_be_a_duplicate(tmp_path: Path):
    again = {"dealname": "Ufer start ", "dealstage": "closedwon", "amount": "100"}
    lines = [
        create(day(1), "companies", 1, name="Ufer"),
        create(day(2), "deals", 1, dealname="Ufer start", dealstage="closedwon", amount="100"),
        join(day(2), ("deals", 1), ("companies", 1), primary=True),
        {"at": day(5), "op": "archive", "object": "deals", "id": "1"},
        create(day(6), "deals", 2, **again),
        join(day(6), ("deals", 2), ("companies", 1), primary=True),
        create(day(6), "deals", 3, **{**again, "dealname": "Ufer more"}),
        join(day(6), ("deals", 3), ("companies", 1), primary=True),
    ]
    with Chain.start(tmp_path, lines, day(4)) as chain:
        chain.run()
        chain.advance(day(8), since=at(day(4)))
        told = {(row["milestone"], row["deal_id"]): row for row in chain.table("events.milestone")}
    shown = {key: (row["state"], row["reason"], row["possible_duplicate_of"]) for key, row in told.items()}
    old = "deal_1_closedwon_2026-03-02T09:00:00Z"
    assert shown == {
        ("opportunity_created", 1): ("reversed", "archived", None),
        ("customer_won", 1): ("reversed", "archived", None),
        ("opportunity_created", 2): ("live", None, old),
        ("customer_won", 2): ("live", None, old),
        ("opportunity_created", 3): ("live", None, None),
        ("customer_expanded", 3): ("live", None, None),
    }
