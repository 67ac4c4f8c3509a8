"""Credit against an oracle in fractions, and the windows at their edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.attribution.models.base import Model
from crm_attribution.attribution.rules.credits import COUNT_UNIT, CREDITED, credits
from crm_attribution.mapping import Attribution
from crm_attribution_tests.events.rules.histories import RULES
from crm_attribution_tests.helpers import at

DAY = at("06-01T12:00:00")
MODELS = RULES.attribution.models
Key = tuple[str, str, str]

UTC_TIME = pl.Datetime("us", "UTC")
OUTCOME: dict[str, Any] = {
    **dict.fromkeys(("milestone", "milestone_id", "account_id", "person_id", "currency"), pl.String),
    **dict.fromkeys(("amount_current", "mrr_new", "arr_new", "tcv_current"), pl.Int64),
    "occurred_at": UTC_TIME,
}
TOUCH: dict[str, Any] = {"touch_id": pl.String, "touched_at": UTC_TIME, "account_id": pl.String, "person_id": pl.String,
         "contact_id": pl.Int64, "channel": pl.String}  # fmt: skip


@dataclass
class Journeys:
    """What credits() is given, as rows."""

    outcomes: list[dict[str, Any]]
    touches: list[dict[str, Any]]
    wins: Sequence[tuple[str, datetime]] = ()
    born: Sequence[tuple[str, datetime]] = ()

    def credits(self, rules: Attribution = RULES.attribution) -> dict[Key, dict[str, int]]:
        """(outcome, model, measure) -> touch -> credit."""
        rows = credits(
            pl.DataFrame(self.outcomes, schema=OUTCOME),
            pl.DataFrame(self.touches, schema=TOUCH),
            pl.DataFrame(list(self.wins), schema={"account_id": pl.String, "occurred_at": UTC_TIME}, orient="row"),
            pl.DataFrame(list(self.born), schema={"contact_id": pl.Int64, "created_at": UTC_TIME}, orient="row"),
            rules,
        )
        found: dict[Key, dict[str, int]] = {}
        for row in rows.iter_rows(named=True):
            found.setdefault((row["milestone_id"], row["model"], row["measure"]), {})[row["touch_id"]] = row["credit"]
        return found

    def touched(self, outcome: str) -> list[str]:
        """The touches that share the outcome."""
        return sorted(self.credits()[outcome, "linear", "count"])


def outcome(number: str = "o", name: str = "opportunity_created", account: str | None = "a", **more: Any):
    return {
        "milestone": name,
        "milestone_id": number,
        "account_id": account,
        "occurred_at": DAY,
        "currency": "EUR",
    } | more


def touch(number: str, when: datetime, account: str | None = "a", person: str = "p", contact: int = 1):
    return {"touch_id": number, "touched_at": when, "account_id": account, "person_id": person, "contact_id": contact}


def days(count: float) -> datetime:
    return DAY - timedelta(days=count)


SECOND = timedelta(seconds=1)


# --- windows


def test_the_window_includes_both_its_ends():
    ends = [
        touch("first", days(90)),
        touch("last", DAY),
        touch("before", days(90) - SECOND),
        touch("after", DAY + SECOND),
    ]
    assert Journeys([outcome()], ends).touched("o") == ["first", "last"]


def test_wins_look_back_a_year():
    ends = [touch("old", days(365)), touch("older", days(365) - SECOND)]
    assert Journeys([outcome(name="customer_won")], ends).touched("o") == ["old"]


def test_an_expansion_looks_back_to_the_previous_win_and_no_further():
    path = [touch("before", days(40)), touch("at the win", days(30)), touch("since", days(30) + SECOND)]
    wins = [("a", days(60)), ("a", days(30)), ("a", DAY), ("other", days(1))]
    assert Journeys([outcome(name="customer_expanded")], path, wins).touched("o") == ["since"]
    assert Journeys([outcome(name="customer_won")], path, wins).touched("o") == ["at the win", "before", "since"]


def test_contacts_created_after_the_close_are_left_out():
    path = [
        touch("in time", days(3), contact=1),
        touch("too late", days(2), contact=2),
        touch("?", days(1), contact=3),
    ]
    assert Journeys([outcome()], path, born=[("1", DAY), ("2", DAY + SECOND)]).touched("o") == ["?", "in time"]


def test_only_touches_of_the_account_count_and_only_those_of_the_person_where_there_is_none():
    path = [touch("ours", days(1)), touch("theirs", days(1), account="b"), touch("nobody's", days(1), account=None)]
    assert Journeys([outcome()], path).touched("o") == ["ours"]
    alone = outcome(account=None, person_id="p")
    assert Journeys([alone], path).touched("o") == ["nobody's", "ours", "theirs"], "all that this person did"
    assert Journeys([outcome(account=None)], path).touched("o") == [""], "nobody to credit: unattributed"


# --- conservation


def largest_remainder(total: int, weights: dict[str, Fraction]) -> dict[str, int]:
    """The share of each, in order of the path: floors, then the missing units to the largest remainders."""
    exact = {key: abs(total) * weight for key, weight in weights.items()}
    parts = {key: floor(share) for key, share in exact.items()}
    missing = abs(total) - sum(parts.values())
    for key in sorted(exact, key=lambda key: floor(exact[key]) - exact[key])[:missing]:
        parts[key] += 1
    return {key: part if total >= 0 else -part for key, part in parts.items()}


def oracle(total: int, path: Sequence[str], model: str) -> dict[str, int]:
    if not path:
        return {"": total}
    weights = {
        "first_touch": {path[0]: Fraction(1)},
        "last_touch": {path[-1]: Fraction(1)},
        "linear": {key: Fraction(1, len(path)) for key in path},
    }[model]
    return largest_remainder(total, weights)


amounts = st.one_of(st.none(), st.integers(-(10**17), 10**17), st.integers(-20, 20))
paths = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100)), max_size=9)


@settings(max_examples=60, deadline=None)
@given(amounts=st.lists(st.tuples(st.sampled_from("abc"), amounts, amounts), min_size=1, max_size=4), path=paths)
def test_every_unit_is_credited_as_the_oracle_does(amounts: Any, path: Any):
    outcomes = [
        outcome(f"o{n}", account=account, amount_current=amount, arr_new=arr)
        for n, (account, amount, arr) in enumerate(amounts)
    ]
    touches = [touch(f"t{n}", days(ago), account) for n, (account, ago) in enumerate(path)]
    found = Journeys(outcomes, touches).credits()
    expected = {}
    for row in outcomes:
        mine = sorted((t["touched_at"], t["touch_id"]) for t in touches if t["account_id"] == row["account_id"])
        eligible = [number for when, number in mine if when >= days(90)]
        totals = {"count": COUNT_UNIT, "amount": row["amount_current"], "arr": row["arr_new"]}
        for measure, total in totals.items():
            if total is not None:
                for model in MODELS:
                    expected[row["milestone_id"], model, measure] = oracle(total, eligible, model)
    assert found == expected
    for (number, _, measure), shares in found.items():
        row = outcomes[int(number[1:])]
        assert sum(shares.values()) == (COUNT_UNIT if measure == "count" else row[CREDITED[measure]])


def test_the_currency_of_a_credit_is_its_amounts_and_empty_where_there_is_none():
    known, unknown = outcome("o1", amount_current=7, currency="USD"), outcome("o2", amount_current=5, currency=None)
    outcomes, path = pl.DataFrame([known, unknown], schema=OUTCOME), pl.DataFrame([touch("t", days(1))], schema=TOUCH)
    wins = pl.DataFrame(schema={"account_id": pl.String, "occurred_at": UTC_TIME})
    born = pl.DataFrame(schema={"contact_id": pl.Int64, "created_at": UTC_TIME})
    rows = credits(outcomes, path, wins, born, RULES.attribution).filter(pl.col("model") == "linear")
    assert rows.select("milestone_id", "measure", "currency", "credit").sort(pl.all()).rows() == [
        ("o1", "amount", "USD", 7),
        ("o1", "count", "", COUNT_UNIT),
        ("o2", "amount", "", 5),
        ("o2", "count", "", COUNT_UNIT),
    ]


# --- models


def test_a_model_may_take_parameters_and_leave_an_outcome_to_nobody(monkeypatch: pytest.MonkeyPatch):
    def young(journeys: pl.DataFrame, parameters: Mapping[str, int]) -> pl.Series:
        age = journeys["occurred_at"] - journeys["touched_at"]
        return (age <= timedelta(days=parameters["days"])).cast(pl.Int64)

    young_model = Model("young", "Touches of the last days only.", young, {"days": 1})
    monkeypatch.setattr("crm_attribution.attribution.rules.credits.models", lambda: {"young": young_model})
    rules = RULES.attribution.model_copy(update={"models": ["young"], "parameters": {"young": {"days": 5}}})
    journeys = Journeys([outcome("o1"), outcome("o2", account="b")], [touch("t1", days(7)), touch("t2", days(5)),
        touch("t3", days(1)), touch("t4", days(8), account="b")])  # fmt: skip
    found = journeys.credits(rules)
    assert found["o1", "young", "count"] == {"t2": 500_000, "t3": 500_000}
    assert found["o2", "young", "count"] == {"": COUNT_UNIT}
