"""Checks of extraction judge typed figures: one that is absent fails."""

from __future__ import annotations

import pytest

from crm_attribution.orchestration.assets.raw import complete, properties_exist
from crm_attribution.raw.reading import StreamReport


@pytest.mark.parametrize(
    ("theirs", "ours", "passed"),
    [(3, 3, True), (0, 0, True), (3, 4, False), (None, 3, False), (3, None, False), (None, None, False)],
)
def test_complete_needs_both_counts(theirs: int | None, ours: int | None, passed: bool):
    _, judge = complete("raw.contact")
    assert judge(StreamReport(source_total=theirs, known_total=ours)).passed is passed


@pytest.mark.parametrize(("unknown", "passed"), [([], True), (["contacts.x"], False), (None, False)])
def test_properties_exist_only_where_they_were_compared(unknown: list[str] | None, passed: bool):
    _, judge = properties_exist()
    assert judge(StreamReport(unknown_properties=unknown)).passed is passed


def test_two_readings_of_one_run_add_up_and_the_later_count_stands():
    one = StreamReport(rows=1, calls=2, source_total=5, known_total=4, unaccounted="1 to 9", figures={"a": 1, "b": "x"})
    other = StreamReport(rows=2, calls=1, source_total=6, known_total=6, figures={"a": 2, "b": "y"})
    both = one.plus(other)
    assert (both.rows, both.calls, both.source_total, both.known_total) == (3, 3, 6, 6)
    assert both.figures == {"a": 3, "b": "y"}
    assert one.plus(StreamReport()).source_total == 5
