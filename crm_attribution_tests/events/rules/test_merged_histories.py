"""Whenever records are read and merged, in whichever regime: a merge adds no event, loses none and renames none."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.events.rules.events import MERGED, Source
from crm_attribution.events.rules.lifecycle_events import lifecycle_events
from crm_attribution_tests.events.rules.histories import RULES, frame
from crm_attribution_tests.helpers import at
from crm_attribution_tests.laws import TIMES

STAGES = ["lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", ""]
START = at("03-01T00:00:00")
Change = tuple[int, str]
"""(hour, stage)"""


def _hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def _raw(held: dict[str, list[Change]], readings: list[int], merge: int, third: bool, noted: bool) -> pl.DataFrame:
    """raw.property_history after readings at some hours, of records 1 and 2 that merge at `merge`."""
    stored: dict[tuple[str, int, str], tuple[int, str]] = {}
    for reading in readings:
        seen = {key: [change for change in told if change[0] <= min(reading, merge)] for key, told in held.items()}
        sources: dict[tuple[int, str], str] = {}
        if reading > merge:
            own = [] if third else [change for change in held["1"] if change[0] > merge]
            copied = [change for change in seen["2"] if change[0] not in {hour for hour, _ in seen["1"]}]
            union = sorted({*seen["1"], *copied}) + [change for change in own if change[0] <= reading]
            if noted and union:
                last = (merge, seen["1"][-1][1] if seen["1"] else union[-1][1])
                union.append(last)
                sources[last] = MERGED
            seen = {"3" if third else "1": union}
        for key, told in seen.items():
            for change in told:
                stored.setdefault((key, *change), (reading, sources.get(change, "CRM_UI")))
    rows = [
        {"object_type": "contacts", "object_id": key, "property": "lifecyclestage", "timestamp": _hour(hour),
         "value": stage, "ordinal": 0, "source_type": source, "history_truncated": False,
         "extracted_at": _hour(reading + 0.1)}
        for (key, hour, stage), (reading, source) in stored.items()
    ]  # fmt: skip
    return frame("raw.property_history", rows)


def _events(history: pl.DataFrame, live: dict[int, int], merge: int) -> dict[str, str]:
    born = {3: _hour(merge)}
    records = frame(
        "raw.contact",
        [{"id": key, "properties": "{}", "created_at": born.get(key, START), "modified_at": START, "archived": False,
          "extracted_at": START} for key in sorted(set(history["object_id"]))],
    )  # fmt: skip
    told = lifecycle_events(Source("contacts", records, history, live), RULES.lifecycle, RULES)
    return {row["event_id"]: row["event"] for row in told.rows(named=True)}


CHANGES = st.lists(st.tuples(st.integers(1, 40), st.sampled_from(STAGES)), unique_by=lambda c: c[0], max_size=5).map(
    sorted
)


@pytest.mark.slow
@settings(max_examples=150 * TIMES)
@given(
    one=CHANGES,
    two=CHANGES,
    readings=st.lists(st.integers(1, 60), unique=True, max_size=4),
    third=st.booleans(),
    noted=st.booleans(),
)
def test_a_merge_changes_no_event(one: list[Change], two: list[Change], readings: list[int], third: bool, noted: bool):
    merge = 41
    before = sorted({*(hour for hour in readings if hour <= merge), merge})
    held = {"1": one, "2": two}
    live = {1: 3, 2: 3} if third else {2: 1}
    known = _events(_raw(held, before, merge, third, noted), {}, merge)
    later = [*before, *sorted(hour for hour in readings if hour > merge), 61, 62]
    assert _events(_raw(held, later, merge, third, noted), live, merge) == known
