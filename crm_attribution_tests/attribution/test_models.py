"""Models against what their inventors publish, and against other ways to compute the same."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.attribution.models import models
from crm_attribution.attribution.models.markov import removal_effects
from crm_attribution.attribution.rules.split import MAXIMUM, Groups, split
from crm_attribution_tests.laws import TIMES

DAY = 24 * 60 * 60 * 1_000_000


def journey(n: int, **columns: Any) -> pl.DataFrame:
    """A journey of n touches, a day apart, the last at the outcome."""
    ago = [DAY * (n - i) for i in range(1, n + 1)]
    turns = dict.fromkeys(("lead", "deal", "close", "effect"), pl.Series([None] * n, dtype=pl.Int64))
    return pl.DataFrame(
        {"journey": [0] * n, "i": range(1, n + 1), "n": [n] * n, "ago": ago, "last_ago": [0] * n}
        | {"channel": ["E-mail"] * n, "person_id": ["p"] * n, "is_direct": [False] * n}
        | turns
        | {name: value if isinstance(value, list) else [value] * n for name, value in columns.items()}
    ).with_columns(pl.col("i", "n", "ago", "last_ago", "lead", "deal", "close", "effect").cast(pl.Int64))


def shares(model: str, frame: pl.DataFrame, **parameters: int) -> list[float]:
    """Of one journey, in percent."""
    chosen = models()[model]
    weight = frame.with_columns(w=chosen.weights(frame, {**chosen.parameters, **parameters}))["w"].to_numpy()
    return [round(100 * float(part), 3) for part in weight / weight.sum()]


def middle(first: float, last: float, n: int) -> list[float]:
    rest = round((100 - first - last) / (n - 2), 3)
    return [first, *[rest] * (n - 2), last]


@pytest.mark.parametrize(
    ("model", "two", "first", "last"),
    [
        ("u_first_last", [50, 50], 40, 40),
        ("j_shaped", [25, 75], 20, 60),
        ("inverse_j", [75, 25], 60, 20),
        ("linear", [50, 50], None, None),
        ("first_touch", [100, 0], 100, 0),
        ("last_touch", [0, 100], 0, 100),
    ],
)
def test_positions_as_published_with_one_to_five_touches(model: str, two: list[float], first: Any, last: Any):
    """Google's and Snowplow's 40-20-40; Adobe's J and inverse J, with two touches 25-75 and 75-25."""
    assert shares(model, journey(1)) == [100]
    assert shares(model, journey(2)) == two
    for n in (3, 4, 5):
        wanted = [round(100 / n, 3)] * n if first is None else middle(first, last, n)
        assert shares(model, journey(n)) == wanted


@pytest.mark.parametrize(
    ("model", "turns", "wanted"),
    [
        ("u_milestone", {"lead": 3}, [40, 20 / 3, 40, 20 / 3, 20 / 3]),
        ("w_shaped", {"lead": 2, "deal": 4}, [30, 30, 5, 30, 5]),
        ("full_path", {"lead": 2, "deal": 4, "close": 5}, [22.5, 22.5, 10, 22.5, 22.5]),
        # one touch in several positions gets the sum of their shares
        ("w_shaped", {"lead": 1, "deal": 1}, [90, 2.5, 2.5, 2.5, 2.5]),
        ("full_path", {"lead": 5, "deal": 5, "close": 5}, [22.5, 10 / 3, 10 / 3, 10 / 3, 67.5]),
        # a position without a touch drops out
        ("w_shaped", {"deal": 4}, [300 / 7, 100 / 21, 100 / 21, 300 / 7, 100 / 21]),
        ("u_milestone", {}, [200 / 3, 25 / 3, 25 / 3, 25 / 3, 25 / 3]),
    ],
)
def test_milestone_models_with_five_touches(model: str, turns: dict[str, int], wanted: list[float]):
    assert shares(model, journey(5, **turns)) == pytest.approx(wanted, abs=0.001)


def test_milestone_models_without_others():
    assert shares("w_shaped", journey(3, lead=2, deal=3)) == pytest.approx([100 / 3] * 3, abs=0.001)
    assert shares("full_path", journey(1, lead=1, deal=1, close=1)) == [100]
    assert shares("u_milestone", journey(2, lead=2)) == [50, 50]
    assert shares("u_milestone", journey(2, lead=1)) == [80, 20]


def test_a_touch_weighs_half_of_one_a_half_life_later():
    week, fortnight = journey(8), journey(15)
    assert shares("time_decay", week.filter(pl.col("i").is_in([1, 8]))) == [33.333, 66.667]
    assert shares("time_decay", fortnight.filter(pl.col("i").is_in([1, 8, 15]))) == [14.286, 28.571, 57.143]
    month = journey(31).filter(pl.col("i").is_in([1, 31]))
    assert shares("time_decay", month, half_life_days=30) == [33.333, 66.667]
    # how long before the outcome the last touch was changes nothing
    assert shares("time_decay", week.with_columns(pl.col("ago", "last_ago") + 40 * DAY)) == shares("time_decay", week)


def test_the_last_touch_that_is_not_direct():
    assert shares("last_non_direct", journey(3, is_direct=[False, False, True])) == [0, 100, 0]
    assert shares("last_non_direct", journey(3, is_direct=True)) == [0, 0, 100], "all direct: the last"


def test_a_colleague_who_clicks_much_takes_no_more():
    assert shares("person_linear", journey(4, person_id=["p", "q", "q", "q"])) == [50, 16.667, 16.667, 16.667]


def test_shares_of_ones_own():
    given = {"first": 40, "lead": 20, "deal": 20, "rest": 20}
    assert shares("custom", journey(4, lead=2, deal=3), **given) == [40, 20, 20, 20]
    assert shares("custom", journey(4)) == [25] * 4
    assert shares("custom", journey(4), last=3, rest=0) == [0, 0, 0, 100]


# --- splitting


def test_a_hundred_over_three():
    assert split(np.array([10_000, -10_000]), np.ones(6, np.int64), Groups(np.array([0, 3]), 6)).tolist() == [
        *(3334, 3333, 3333),
        *(-3334, -3333, -3333),
    ]


weights = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 1 << 44)), min_size=1, max_size=8).filter(any)


@settings(max_examples=200 * TIMES)
@given(st.lists(st.tuples(st.integers(-(10**18), 10**18), weights), min_size=1, max_size=5))
def test_any_total_over_any_weights(groups: list[tuple[int, list[int]]]):
    """Against fractions: floors or one more, in all the total, and no remainder that got nothing beats one that did."""
    lengths = [len(group) for _, group in groups]
    totals = np.array([total for total, _ in groups], np.int64)
    flat = np.array([weight for _, group in groups for weight in group], np.int64)
    starts = np.cumsum([0, *lengths[:-1]])
    found = split(totals, flat, Groups(starts, len(flat)))
    for (total, group), start in zip(groups, starts, strict=True):
        parts = [abs(int(part)) for part in found[start : start + len(group)]]
        assert all(part * total >= 0 for part in found[start : start + len(group)].tolist())
        exact = [Fraction(abs(total) * weight, sum(group)) for weight in group]
        more = [part - share.__floor__() for part, share in zip(parts, exact, strict=True)]
        assert sum(parts) == abs(total)
        assert set(more) <= {0, 1}
        order = [(-(share % 1), place) for place, share in enumerate(exact)]
        got = {place for place, one in enumerate(more) if one}
        assert got == {place for _, place in sorted(order)[: sum(more)]}


@pytest.mark.parametrize("wrong", [[0, 0], [-1, 2], [MAXIMUM, 1]])
def test_weights_that_cannot_be_shared_are_refused(wrong: list[int]):
    with pytest.raises(ValueError, match="weights of a group"):
        split(np.array([1]), np.array(wrong), Groups(np.array([0]), 2))


# --- Markov


def paths(*rows: tuple[str, bool, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [(list(path), converted, journeys) for path, converted, journeys in rows],
        schema={"path": pl.List(pl.String), "converted": pl.Boolean, "journeys": pl.Int64},
        orient="row",
    )


def test_removal_effects_of_a_graph_solved_by_hand():
    """Anderl's kind of example: A B C convert, A and B C do not. P(conversion) = 1/3.

    start: A 1/3 .. A -> B 1/2, nothing 1/2. B -> C 1. C -> converted 1/2, nothing 1/2. start -> A 2/3, B 1/3.
    P = (2/3 * 1/2 + 1/3) * 1/2 = 1/3. Without A: 1/3 * 1/2 = 1/6, effect 1/2. Without B or C: 0, effect 1.
    """
    found = removal_effects(paths(("ABC", True, 1), ("A", False, 1), ("BC", False, 1)))
    assert found["channel"].to_list() == ["A", "B", "C"]
    assert found["effect"].to_list() == pytest.approx([0.5, 1.0, 1.0])


def test_what_models_take_where_a_mapping_says_nothing():
    told = {name: model.parameters for name, model in models().items() if model.parameters}
    places = dict.fromkeys(("first", "lead", "deal", "close", "last"), 0)
    assert told == {"custom": {**places, "rest": 1}, "markov": {"months": 12}, "time_decay": {"half_life_days": 7}}


def test_a_repeated_channel_changes_no_removal_effect():
    once = removal_effects(paths(("AB", True, 3), ("B", False, 2), ("BA", False, 1)))
    again = removal_effects(paths(("AABBB", True, 3), ("BB", False, 2), ("BA", False, 1)))
    assert again["effect"].to_list() == pytest.approx(once["effect"].to_list())


def by_removal(rows: list[tuple[str, bool, int]], removed: str | None) -> float:
    """P(conversion), by walking on until nothing is left to walk; the removed channel leads to nothing."""
    flow: dict[str, dict[str, float]] = {}
    for path, converted, journeys in rows:
        walk = ["start", *path, "converted" if converted else "nothing"]
        for come, go in pairwise(walk):
            flow.setdefault(come, {}).setdefault(go, 0)
            flow[come][go] += journeys
    here, done = {"start": 1.0}, 0.0
    for _ in range(20_000):
        there: dict[str, float] = {}
        for come, mass in here.items():
            whole = sum(flow[come].values())
            for go, count in flow[come].items():
                if go == "converted":
                    done += mass * count / whole
                elif go not in ("nothing", removed):
                    there[go] = there.get(go, 0) + mass * count / whole
        here = {name: mass for name, mass in there.items() if mass > 1e-13}
        if not here:
            return done
    raise AssertionError("still walking")


walks = st.lists(
    st.tuples(st.text("ABCD", min_size=1, max_size=5), st.booleans(), st.integers(1, 3)), min_size=1, max_size=6
)


@settings(max_examples=50 * TIMES)
@given(walks)
def test_removal_effects_are_what_removal_costs(rows: list[tuple[str, bool, int]]):
    found = dict(removal_effects(paths(*rows)).iter_rows())
    whole = by_removal(rows, None)
    assert found.keys() == set("".join(path for path, _, _ in rows))
    for channel, effect in found.items():
        wanted = 1 - by_removal(rows, channel) / whole if whole else 0
        assert effect == pytest.approx(wanted, abs=1e-9)


def test_markov_shares_by_effect_and_evenly_where_nothing_is_known():
    assert shares("markov", journey(3, effect=[2, 1, 1])) == [50, 25, 25]
    assert shares("markov", journey(3, effect=[3, 1, None])) == [50, 16.667, 33.333], "the mean of the others"
    assert shares("markov", journey(4)) == shares("markov", journey(4, effect=0)) == [25] * 4
    learn = models()["markov"].learn
    assert learn is not None
    assert learn(paths(("AB", False, 5)), {}).is_empty(), "nothing led to the outcome"


# --- Shapley


@settings(max_examples=40 * TIMES)
@given(st.lists(st.text("ABCD", min_size=1, max_size=5), min_size=1, max_size=6))
def test_shapley_values_by_enumeration(rows: list[str]):
    """Of the game whose value is how many journeys need no channel outside a set, over all orders of joining."""
    channels = sorted(set("".join(rows)))
    orders = list(permutations(channels))
    wanted = dict.fromkeys(channels, Fraction(0))
    for order in orders:
        for place, channel in enumerate(order):
            value, before = set(order[: place + 1]), set(order[:place])
            gain = sum(set(path) <= value for path in rows) - sum(set(path) <= before for path in rows)
            wanted[channel] += Fraction(gain, len(orders))
    found = dict.fromkeys(channels, 0.0)
    for path in rows:
        for channel, share in zip(path, shares("shapley", journey(len(path), channel=list(path))), strict=True):
            found[channel] += share / 100
    assert found == pytest.approx({channel: float(value) for channel, value in wanted.items()}, abs=1e-4)
