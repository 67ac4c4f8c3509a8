"""The validator finds what it is there to find."""

from __future__ import annotations

from typing import Any

import pytest

from crm_attribution_tests.sandbox.generator.validator import Reader

AT = "2026-03-12T10:00:00Z"
MADE = {
    "at": AT,
    "op": "create",
    "object": "contacts",
    "id": "11",
    "source": "FORM",
    "properties": {"email": "a@b.example"},
}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"at": "2026-03-12 10:00", "op": "spend", "spend": {}}, "at is"),
        ({"at": "2026-03-12T09:59:59Z", "op": "archive", "object": "contacts", "id": "11"}, "stands behind"),
        ({"at": AT, "op": "explode"}, "unknown op"),
        (MADE, "exists already"),
        ({**MADE, "id": "31"}, "contacts id 31"),
        ({**MADE, "id": "12", "source": "MAGIC"}, "source MAGIC"),
        ({**MADE, "id": "12", "properties": {"amount": 5}}, "amount is a int"),
        (
            {"at": AT, "op": "associate", "from": ["contacts", "11"], "to": ["companies", "31"]},
            "companies 31 is not alive",
        ),
        ({"at": AT, "op": "dissociate", "from": ["contacts", "11"], "to": ["companies", "31"]}, "never associated"),
        ({"at": AT, "op": "merge", "object": "contacts", "primary": "11", "merged": "12"}, "contacts 12 is not alive"),
        ({"at": AT, "op": "merge", "object": "contacts", "primary": "11"}, "misses merged"),
        ({"at": AT, "op": "restore", "object": "contacts", "id": "11"}, "was not archived"),
        (
            {"at": AT, "op": "click", "click": {"click_id": "c", "link_slug": "s", "link_tags": [], "color": "x"}},
            "color",
        ),
    ],
)
def test_problems_are_named(line: dict[str, Any], problem: str) -> None:
    problems = Reader().read([MADE, line]).problems
    assert any(problem in text for text in problems), problems
