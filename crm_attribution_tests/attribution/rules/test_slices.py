"""Touches in order, and slices of them, against sorting and looking at each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.attribution.rules import slices, split
from crm_attribution.attribution.rules.split import Groups
from crm_attribution_tests.laws import TIMES

US = pl.Datetime("us", "UTC")
START = datetime(2026, 3, 1, tzinfo=UTC)

moment = st.one_of(st.integers(0, 5), st.integers(-(1 << 50), 1 << 50))
rows = st.lists(st.tuples(st.one_of(st.integers(0, 3), st.integers(0, 1 << 40)), moment), max_size=12)


@settings(max_examples=200 * TIMES)
@given(rows)
def test_the_order_of_key_time_and_id(found: list[tuple[int, int]]):
    """Also where key and time need more bits than one number has."""
    ids = [f"{(7 * place) % 13:02}" for place in range(len(found))]
    keys, times = (np.array([row[n] for row in found], np.int64) for n in (0, 1))
    wanted = sorted(range(len(found)), key=lambda place: (*found[place], ids[place]))
    assert slices.in_order(keys, times, pl.Series(ids, dtype=pl.String)).tolist() == wanted


acts = st.lists(
    st.tuples(st.sampled_from("AB"), st.integers(0, 9), st.sampled_from(["p", "q", None]), st.sampled_from("xy")),
    max_size=10,
)
asks = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 9), st.integers(0, 9)), max_size=4)


@settings(max_examples=200 * TIMES)
@given(acts, asks)
def test_windows_and_repeats(found: list[tuple[str, int, str | None, str]], asked: list[tuple[str, int, int]]):
    touches = pl.DataFrame(
        [
            (str(n), key, START + timedelta(minutes=at), who, where, None)
            for n, (key, at, who, where) in enumerate(found)
        ],
        schema={"touch_id": pl.String, "account_id": pl.String, "touched_at": US, "person_id": pl.String,
                "channel": pl.String, "campaign": pl.String}, orient="row",
    )  # fmt: skip
    keys = pl.Series([key for key, _, _ in asked], dtype=pl.String)
    line = slices.line(touches, "account_id", keys)
    origin = int(START.timestamp()) * 1_000_000
    since, until = (
        np.array([origin + minute * 60_000_000 for minute in minutes], np.int64)
        for minutes in ([first for _, first, _ in asked], [last for _, _, last in asked])
    )
    for low in (since, None):
        which, at = line.slices(keys, low, until)
        assert list(zip(which.tolist(), line.places[at].tolist(), strict=True)) == [
            (journey, place)
            for journey, (key, first, last) in enumerate(asked)
            for place in sorted(range(len(found)), key=lambda place: (found[place][1], str(place)))
            if found[place][0] == key and (low is None or first <= found[place][1] <= last)
        ]
    before = dict(zip(line.places.tolist(), slices.repeated(line, touches, 2).tolist(), strict=True))
    for place, (key, at_minute, who, where) in enumerate(found):
        if place in before:
            earlier = [
                other[1]
                for n, other in enumerate(found)
                if (other[0], other[2], other[3]) == (key, who, where) and (other[1], str(n)) < (at_minute, str(place))
            ]
            last = max(earlier, default=None)
            repeats = who is not None and last is not None and at_minute - last <= 2
            assert before[place] == (origin + last * 60_000_000 if repeats and last is not None else slices.NEVER)


def test_sharing_block_by_block_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    chance = np.random.default_rng(1)
    lengths = chance.integers(1, 6, 200)
    starts, size = np.cumsum(lengths) - lengths, int(lengths.sum())
    totals, weights = chance.integers(-(10**6), 10**6, 200), chance.integers(1, 1 << 30, size)
    shares = []
    for rows_at_a_time in (1, 2, 7, 64, size):
        monkeypatch.setattr(split, "_AT_A_TIME", rows_at_a_time)
        groups = Groups(starts, size)
        shares.append(split.split(totals, weights, groups).tolist())
        assert groups.sum(np.array(shares[-1])).tolist() == totals.tolist()
    assert all(found == shares[0] for found in shares)
