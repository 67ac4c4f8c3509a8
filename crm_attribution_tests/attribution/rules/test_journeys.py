"""Bounds of an outcome's window, and the turns of its journey: of several facts the right one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crm_attribution.attribution.rules.journeys import scoped
from crm_attribution_tests.attribution.rules.test_credits import FACT
from crm_attribution_tests.events.rules.histories import RULES
from crm_attribution_tests.helpers import at

RULED = RULES.attribution.model_copy(
    update={"scopes": ["account", "deal_contacts"], "same_decision_days": 7,
            "lookback_days": {"default": 90, "customer_expanded": 30}}
)  # fmt: skip
TICK = timedelta(microseconds=1)


def day(number: int) -> datetime:
    return at("2026-01-01T00:00:00Z") + timedelta(days=number)


def fact(
    milestone: str, number: int, account: str | None = "a", person: str | None = None, deal: int | None = None
) -> dict[str, Any]:
    return {"milestone": milestone, "account_id": account, "person_id": person, "deal_id": deal,
            "occurred_at": day(number)}  # fmt: skip


FACTS: list[dict[str, Any]] = [
    *(fact("lead_captured", 12), fact("qualified_lead", 10), fact("sales_qualified_lead", 11)),
    *(fact("lead_captured", 3, "b"), fact("lead_captured", 2, None, "p"), fact("lead_captured", 1, None, "p")),
    *(fact("opportunity_created", 22, deal=1), fact("opportunity_created", 21, deal=1)),
    *(fact("opportunity_created", 5, deal=2), fact("customer_won", 50, deal=1), fact("customer_expanded", 60, deal=2)),
    *(fact("customer_expanded", 67, deal=3), fact("customer_won", 1, "b", deal=9)),
]


def bounds(milestone: str, number: int, **more: Any) -> list[dict[str, Any]]:
    outcome = pl.DataFrame([fact(milestone, number, **more)], schema=FACT).with_columns(milestone_id=pl.lit("o"))
    return scoped(outcome, pl.DataFrame(FACTS, schema=FACT), RULED).rows(named=True)


def test_a_turn_is_the_earliest_of_its_facts_and_of_this_account_person_or_deal():
    for row in bounds("customer_won", 50, deal=1):
        assert (row["lead_at"], row["deal_at"], row["previous_win"]) == (day(10), day(21), None)
        assert (row["opens"], row["since"], row["learned_as"]) == (day(50 - 90), day(50 - 90), "customer_won")
    (row, _) = bounds("qualified_lead", 40, account=None, person="p")
    assert (row["lead_at"], row["deal_at"]) == (day(1), None)
    (row, _) = bounds("qualified_lead", 40, account="c", person="p")
    assert row["lead_at"] is None, "of an account, what its person did without one is no turn"
    assert [row["scope"] for row in bounds("customer_won", 50, deal=1)] == ["account", "deal_contacts"]


def test_an_expansion_looks_back_to_the_last_win_that_was_a_decision_of_its_own():
    for number, previous in ((50, None), (57, None), (58, 50), (67, 50), (68, 60), (75, 67), (120, 67)):
        (row, _) = bounds("customer_expanded", number, deal=7)
        assert row["previous_win"] == (None if previous is None else day(previous)), number
        opens = day(number - 30)
        assert row["opens"] == opens
        assert row["since"] == (opens if previous is None else max(opens, day(previous) + TICK))
