"""Churn by a property, a date and a pipeline, a lowered value and a lost win: credited to the touches of the win."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from crm_attribution_tests.events.test_settings_of_the_portal import account, deal, pipeline
from crm_attribution_tests.flow.chain import Chain, differences, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import click, create, day, join, update

pytestmark = pytest.mark.sandbox

RULES = """
deals:
  pipelines: {cancellations: churn}
churn:
  property: subscription
  values: [Ended]
  date_property: ends_on
  company: {property: customer_status, values: [Former], date_property: contract_ends}
values:
  arr: {property: hs_arr, line_items: null}
attribution:
  models: [linear, markov]
"""
CANCELLED = (("asked", False, "0.5"), ("cancelled", True, "1.0"))
CLICKS = [
    click(
        day(2),
        f"k{n}",
        contact_id="11",
        clicked_at=f"2026-03-02T0{n}:00:00Z",
        destination_url="https://v.example",
        utm_source="google",
        utm_medium=medium,
    )
    for n, medium in enumerate(("cpc", "email", "cpc"), 1)
]
LINES = [
    account(day(1)),
    pipeline(day(1), *CANCELLED, name="cancellations"),
    *(line for number in range(2, 9) for line in deal(number, day(3), "closedwon", amount="100", hs_arr="100")),
    create(day(1), "companies", 1, name="C1", domain="c1.example"),
    create(day(1), "contacts", 11, "FORM", email="ann@c1.example"),
    join(day(1), ("contacts", 11), ("companies", 1)),
    create(day(3), "deals", 1, dealname="D1", dealstage="closedwon", amount="100", hs_arr="100"),
    join(day(3), ("deals", 1), ("companies", 1)),
    *CLICKS,
    update(day(5), "deals", 1, hs_arr="70"),
    update(day(6), "deals", 1, subscription="ended"),
    update(day(6), "deals", 2, ends_on="2026-08-31"),
    create(day(7), "deals", 31, dealname="Leaves", dealstage="cancelled", pipeline="cancellations", hs_arr="40"),
    join(day(7), ("deals", 31), ("companies", 3)),
    update(day(7), "deals", 4, dealstage="closedlost"),
    update(day(8), "deals", 5, subscription="ended"),
    update(day(9), "deals", 5, subscription="active"),
    create(day(4), "deals", 61, dealname="More", dealstage="closedwon", amount="50", hs_arr="50"),
    join(day(4), ("deals", 61), ("companies", 6)),
    update(day(7), "companies", 6, customer_status="former"),
    update(day(9), "companies", 7, customer_status="former", contract_ends="2026-03-08"),
    update(day(7), "companies", 8, customer_status="former"),
    update(day(9), "companies", 8, customer_status="customer"),
]  # fmt: skip


def test_what_ends_is_an_outcome_of_its_own_at_the_touches_of_its_win(tmp_path: Path):
    lines = sorted(LINES, key=lambda line: str(line["at"]))
    with Chain.start(tmp_path, lines, "2026-03-05T12:00:00Z", rules(tmp_path, RULES)) as chain:
        chain.run()
        for stop in (day(7), day(8), day(10)):
            chain.advance(stop, since=at(day(3)))
        found = defaultdict(list)
        for row in sorted(chain.table("events.revenue"), key=lambda row: row["occurred_at"]):
            moved = (row["milestone"].removeprefix("revenue_"), row["arr"], str(row["booked_on"]), row["cause"])
            found[row["deal_id"]].append(moved)
        won = ("new", 10000, "2026-03-03", "won")
        assert found == {
            1: [won, ("contracted", -3000, "2026-03-05", "priced"), ("churned", -7000, "2026-03-06", "churn_property")],
            2: [won, ("churned", -10000, "2026-08-31", "churn_date")],
            3: [won, ("churned", -4000, "2026-03-07", "churn_pipeline")],
            4: [won, ("churned", -10000, "2026-03-07", "lost_after_won")],
            5: [won],
            6: [won, ("churned", -10000, "2026-03-07", "churn_company_property")],
            61: [("expanded", 5000, "2026-03-04", "won"), ("churned", -5000, "2026-03-07", "churn_company_property")],
            7: [won, ("churned", -10000, "2026-03-08", "churn_company_date")],
            8: [won],
        }
        assert credit(chain, 1) == {
            "revenue_churned": {"click:k1": -2334, "click:k2": -2333, "click:k3": -2333},
            "revenue_contracted": {"click:k1": -1000, "click:k2": -1000, "click:k3": -1000},
            "customer_won": {"click:k1": 2334, "click:k2": 2333, "click:k3": 2333},
        }
        assert credit(chain, 4) == {"revenue_churned": {"": -10000}}
        step_by_step = chain.dump()
        assert not any(chain.run(since=at(day(3))))
        chain.rebuild()
        assert differences(step_by_step, chain.dump()) == []


def credit(chain: Chain, deal: int) -> dict[str, dict[str, int]]:
    """milestone -> touch -> linear credit of ARR for a deal's wins and what they lost."""
    known = {(row["milestone"], row["milestone_id"]): row["deal_id"]
             for table in ("events.milestone", "events.revenue") for row in chain.table(table)}  # fmt: skip
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in chain.table("attribution.credit"):
        mine = known.get((row["milestone"], row["milestone_id"])) == deal and row["superseded_at"] is None
        if mine and (row["model"], row["measure"]) == ("linear", "arr") and row["milestone"] != "opportunity_created":
            found[row["milestone"]][row["touch_id"]] = row["credit"]
    return found
