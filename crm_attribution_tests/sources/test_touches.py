"""Offline touches of files: whom a row names, and the id of a row that has none."""

from __future__ import annotations

from typing import Any

from crm_attribution.hubspot.parsed import Parsed
from crm_attribution.sources.touches import SOURCE
from crm_attribution_tests.helpers import at

NOW = at("2026-03-05T12:00:00Z")
GOOD = {"touched_at": "2026-03-04T18:00:00Z", "act": "Trade Fair", "email": " Ann@B\u00fccher.example "}


def parse(*rows: dict[str, Any]) -> Parsed:
    return SOURCE.parse([(f"row {n}", row) for n, row in enumerate(rows, 1)], extracted_at=NOW, told_at=NOW)


def test_a_row_names_a_contact_by_id_or_by_address():
    rows = parse(GOOD, {**GOOD, "email": "", "contact_id": "7", "medium": "event"}).rows.sort("contact_id")
    told = rows.select("act", "contact_id", "email_normalised", "medium", "touched_at").rows()
    moment = at("2026-03-04T18:00:00Z")
    assert told == [("trade_fair", None, "ann@xn--bcher-kva.example", None, moment),
                    ("trade_fair", 7, None, "event", moment)]  # fmt: skip


def test_a_list_without_ids_dropped_twice_is_told_once():
    first, again = (parse(row).rows["touch_id"].item() for row in (GOOD, {**GOOD, "source": "Fair Ltd"}))
    assert first == again
    others = [{**GOOD, "act": "dinner"}, {**GOOD, "email": "bob@b.example"}, {**GOOD, "touch_id": "mine"}]
    assert len({first, *parse(*others).rows["touch_id"]}) == 4


def test_a_row_that_names_nobody_is_refused_with_what_is_wrong():
    bad = [{**GOOD, "email": ""}, {**GOOD, "email": "", "contact_id": "seven"}, {**GOOD, "act": "!"}]
    found = parse(*bad, {**GOOD, "email": "no address"}, {**GOOD, "touched_at": "2026-03-09"}, GOOD)
    assert found.rows.height == 1
    reasons = ["email:missing", "contact_id:not_a_whole_number", "act:not_a_name", "email:not_an_address"]
    reasons.append("touched_at:in_the_future")
    assert [row.reasons for row in found.refused] == reasons
