"""The law of deltas on the rule alone: between any two instants a figure differs by the sum of its deltas, whatever
its history; and one cause is named of those found."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution.contracts.finance import CAUSES
from crm_attribution.errors import ConfigurationError
from crm_attribution.finance.rules import periods
from crm_attribution.finance.rules.restatements import FIGURE, OUTCOME, by_basis, causes, deltas

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
INSTANTS = [BEGINNING + timedelta(hours=hour) for hour in range(8)]
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("milestone", "milestone_id", "model", "scope", "measure", "currency", "channel"), pl.String),
    "booked_month": pl.Date,
    "home_currency": pl.String,
    "credit": pl.Int64,
    "credit_home": pl.Int64,
    "since": pl.Datetime("us", "UTC"),
    "until": pl.Datetime("us", "UTC"),
}


@st.composite
def rows(draw: st.DrawFn) -> dict[str, object]:
    """A part of a figure, known from one instant to another."""
    since, until = sorted(draw(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda two: two[0] != two[1])))
    at_home = draw(st.none() | st.integers(-50, 50))
    return {
        **{"milestone": "customer_won", "milestone_id": draw(st.sampled_from("ab")), "model": "linear"},
        **{"scope": "account", "measure": "amount", "currency": draw(st.sampled_from(["EUR", "USD"]))},
        "channel": draw(st.sampled_from(["Paid Search", "Direct", "Unattributed"])),
        "booked_month": date(2026, draw(st.integers(1, 2)), 1),
        "home_currency": None if at_home is None else "EUR",
        "credit": draw(st.sampled_from([-100, -2, -1, 0, 1, 2, 100])),
        "credit_home": at_home,
        "since": INSTANTS[since],
        "until": INSTANTS[until] if draw(st.booleans()) else None,
    }


def known(history: pl.DataFrame, moment: datetime) -> dict[tuple[object, ...], int]:
    """What each figure was at an instant, counted row by row."""
    found: dict[tuple[object, ...], int] = {}
    for row in history.iter_rows(named=True):
        if row["since"] <= moment and (row["until"] is None or row["until"] > moment):
            for basis, currency, value in (
                ("own", row["currency"], row["credit"]),
                ("home", row["home_currency"], row["credit_home"]),
            ):
                if value is not None:
                    key = tuple({**row, "basis": basis, "currency": currency}[name] for name in FIGURE)
                    found[key] = found.get(key, 0) + value
    return found


@given(st.lists(rows(), max_size=25))
def test_between_any_two_instants_a_figure_differs_by_the_sum_of_its_deltas(drawn: list[dict[str, object]]) -> None:
    history = pl.DataFrame(drawn, schema=SCHEMA)
    found = deltas(by_basis(history))
    assert (found["delta"] != 0).all()
    assert (found["new"] - found["old"] == found["delta"]).all()
    for row in found.iter_rows(named=True):
        assert row["new"] == known(history, row["recorded_at"]).get(tuple(row[name] for name in FIGURE), 0)
    for one, other in combinations([BEGINNING - timedelta(days=1), *INSTANTS], 2):
        was, now = known(history, one), known(history, other)
        wanted = {key: now.get(key, 0) - was.get(key, 0) for key in {*was, *now}}
        told = found.filter((pl.col("recorded_at") > one) & (pl.col("recorded_at") <= other))
        summed = told.group_by(FIGURE).agg(pl.col("delta").sum()).filter(pl.col("delta") != 0)
        assert {row[:-1]: row[-1] for row in summed.select(*FIGURE, "delta").iter_rows()} == {
            key: value for key, value in wanted.items() if value
        }


def moved(*figures: tuple[str, str, str, int]) -> pl.DataFrame:
    """Deltas of one outcome: basis, measure, channel, delta."""
    made = [
        {"basis": basis, "milestone": "customer_won", "milestone_id": "a", "model": "linear", "scope": "account",
         "measure": measure, "booked_month": date(2026, 1, 1), "currency": "EUR", "channel": channel,
         "recorded_at": BEGINNING, "old": 0, "new": delta, "delta": delta}
        for basis, measure, channel, delta in figures
    ]  # fmt: skip
    return pl.DataFrame(made)


def judged(figures: pl.DataFrame, shown: dict[str, str], *, recounted: bool = False) -> list[str]:
    found = {
        name: shown.get(name, "finance.milestone_version last" if name == "unexplained" else None) for name in CAUSES
    }
    schema = {**dict.fromkeys((*OUTCOME, *CAUSES), pl.String), "recounted": pl.Boolean}
    evidence = pl.DataFrame(
        [{"milestone": "customer_won", "milestone_id": "a", "recounted": recounted, **found}], schema
    )
    result = causes(figures, evidence, list(CAUSES))
    tables = result.select(pl.concat_str("cause_table", pl.lit(" "), "cause_key")).to_series()
    assert tables.to_list() == [found[cause] for cause in result["cause"]]
    return result["cause"].to_list()


SHARED = moved(("own", "amount", "Direct", -50), ("own", "amount", "Paid Search", 50))
PRICED = moved(("own", "amount", "Direct", 10), ("home", "amount", "Direct", 9), ("own", "count", "Direct", 0))
SHARED_AT_HOME = moved(("home", "amount", "Direct", -50), ("home", "amount", "Paid Search", 50))
FEBRUARYS = pl.Series([date(2026, 1, 1), date(2026, 2, 1)])
REBOOKED = SHARED.with_columns(booked_month=FEBRUARYS)
CONVERTED = moved(("home", "amount", "Direct", 9))
TOUCH, DEAL, RATE = "finance.touch_version click:1", "raw.property_history deals|1|amount|5|0", "raw.exchange_rate x"


@pytest.mark.parametrize(
    ("figures", "shown", "expected"),
    [
        (SHARED, {"late_touch": TOUCH}, ["late_touch"] * 2),
        (SHARED, {"late_touch": TOUCH, "merge": "raw.merge contacts|1"}, ["merge"] * 2),
        (SHARED, {"late_touch": TOUCH, "amount": DEAL}, ["late_touch"] * 2),
        (SHARED, {}, ["unexplained"] * 2),
        (PRICED, {"amount": DEAL, "late_touch": TOUCH, "rate": RATE}, ["amount", "amount", "late_touch"]),
        (CONVERTED, {"amount": DEAL, "rate": RATE}, ["rate"]),
        (SHARED, {"stage": DEAL}, ["unexplained"] * 2),
        (PRICED, {"rate": RATE}, ["unexplained"] * 3),
        (REBOOKED, {"close_date": DEAL}, ["close_date"] * 2),
        (SHARED, {"close_date": DEAL}, ["unexplained"] * 2),
        (SHARED, {"learned": TOUCH}, ["learned"] * 2),
        (PRICED, {"learned": TOUCH, "touch_label": TOUCH}, ["unexplained", "unexplained", "touch_label"]),
        (SHARED_AT_HOME, {"rate": RATE}, ["unexplained"] * 2),
        (SHARED, {"new": "finance.milestone_version a", "late_touch": TOUCH}, ["new"] * 2),
    ],
)
def test_one_cause_is_named_and_only_one_that_can_have_moved_the_figure(
    figures: pl.DataFrame, shown: dict[str, str], expected: list[str]
) -> None:
    assert judged(figures, shown) == expected


def test_what_begins_or_ceases_to_count_does_so_by_its_stage() -> None:
    assert judged(moved(("own", "amount", "Direct", -50)), {"stage": DEAL, "amount": DEAL}, recounted=True) == ["stage"]


# --- months


def month(number: int) -> date:
    return date(2026 + (number - 1) // 12, (number - 1) % 12 + 1, 1)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=12), st.integers(1, 12))
def test_whatever_is_closed_and_reopened_closed_months_have_no_gap(
    commands: list[tuple[bool, int]], first: int
) -> None:
    states: dict[date, str] = {}
    known = datetime(2027, 6, 1, tzinfo=UTC)
    for closes, number in commands:
        through = periods.closed_through(states)
        try:
            if closes:
                changed = periods.to_close(month(number), states, month(first), known, "Europe/Berlin")
            else:
                changed = periods.to_reopen(month(number), states)
        except ConfigurationError:
            assert (states.get(month(number)) != periods.CLOSED) is not closes or (through or date.min) >= month(number)
            continue
        assert month(number) in changed
        states |= dict.fromkeys(changed, periods.CLOSED if closes else periods.OPEN)
        closed = sorted(one for one, state in states.items() if state == periods.CLOSED)
        assert not closes or max(closed) == month(number)
        assert all(later == periods.month_after(earlier) for earlier, later in pairwise(closed))
        assert all(one < month(number) for one in closed) or closes


def test_a_month_is_over_when_it_is_in_the_accounts_zone() -> None:
    ends = datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert periods.to_close(month(3), {}, None, ends, "Europe/Berlin") == [month(3)]
    with pytest.raises(ConfigurationError, match="2026-03 ends at 2026-03-31T22:00Z"):
        periods.to_close(month(3), {}, None, ends - timedelta(seconds=1), "Europe/Berlin")
