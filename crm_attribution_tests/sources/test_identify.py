"""Names of properties in files of people and companies: what no name can be made of, or means two things, is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from crm_attribution.sources import sources

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PERSON = {"kind": "identify", "happened_at": "2026-02-01T00:00:00Z", "email": "ann@firm.example",
          "told_at": "2026-03-01T00:00:00Z"}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "kept", "problems"),
    [
        ({"properties": '{"Plan Tier": "pro", "a": {"City": "Oslo"}}'}, {"plan_tier": "pro", "a_city": "Oslo"}, []),
        ({"properties": '{"***": "x", "plan": "pro"}'}, {"plan": "pro"}, ["properties:not_a_name"]),
        ({"properties": '{"***": {"a": 1}}'}, None, ["properties:not_a_name"]),
        ({"properties": '{"Plan Tier": "pro", "plan_tier": "free"}'}, None, ["properties:named_twice"]),
        ({"properties": '{"Plan Tier": "pro", "plan_tier": "pro"}'}, {"plan_tier": "pro"}, []),
        ({"Plan Tier": "free", "properties": '{"plan_tier": "pro"}'}, {"plan_tier": "pro"}, []),
        ({"properties": '{"plan": "p\\u0000ro", "seats": [{"of": "a"}, true]}'},
         {"plan": "pro", "seats": '{"of": "a"};true'}, []),
        ({"***": "", "properties": '{"plan": "pro"}'}, {"plan": "pro"}, []),
    ],
)  # fmt: skip
def test_no_property_is_lost_without_a_word(given: dict[str, Any], kept: dict[str, str] | None, problems: list[str]):
    parsed = sources()["identify"].parse([("row 1", {**PERSON, **given})], extracted_at=NOW)
    (row,) = parsed.rows.rows(named=True)
    assert (json.loads(row["properties"]) if row["properties"] else None) == kept
    assert [one.reasons for one in parsed.refused] == problems
