"""Which two texts are one value to HubSpot, so that a reformatted write is no dropped one."""

from __future__ import annotations

import pytest

from crm_attribution.destinations.base import Answer, told_by_status
from crm_attribution.destinations.normal_form import same


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (None, "", True),
        (" a  b ", "a b", True),
        ("a", None, False),
        ("HTTPS://www.Firm.example/", "firm.example", True),
        ("firm.example", "firm.examples", False),
        ("2026-03-01", "2026-03-01T00:00:00Z", True),
        ("2026-03-01T01:00:00+01:00", "1772323200000", True),
        ("2026-03-01", "2026-03-02", False),
        ("2026-13-01", "2026-13-01T00:00:00Z", False),
        ("2", "2.0", True),
        ("+2", "2", True),
        ("0.5", "0.50", True),
        ("-0.5", "-.5", False),
        ("0", "0.0", True),
        ("2", "3", False),
        ("007", "7", False),
        ("-07", "-7", False),
        ("+49 (171) 2345678", "+491712345678", True),
        ("0171 2345678", "+49 171 2345678", True),
        ("0171 2345678", "0171-2345678", False),
        ("+49171234", "71234", False),
        ("+49 171 234567", "0234567", True),
        ("+49 171 234567", "0034567", False),
    ],
)
def test_two_texts_are_one_value(one: str | None, other: str | None, expected: bool):
    assert same(one, other) is expected
    assert same(other, one) is expected


@pytest.mark.parametrize(
    ("status", "readable", "found"),
    [
        (401, True, "failed"), (426, True, "failed"),
        (408, True, "cannot be checked"), (429, True, "cannot be checked"),
        (500, True, "cannot be checked"), (199, True, "cannot be checked"), (200, False, "cannot be checked"),
        (200, True, None), (400, True, None), (499, True, None),
    ],
)  # fmt: skip
def test_what_a_status_alone_says_to_a_question(status: int, readable: bool, found: str | None):
    told = told_by_status("it", Answer(status, {}, {}, readable), "TOKEN")
    assert (None if told is None else told.state) == found
