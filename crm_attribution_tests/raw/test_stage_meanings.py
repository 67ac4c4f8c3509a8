"""A stage means from the beginning what it meant when it was first seen, and something else from when that was seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.raw.rules.stage_meanings import BEGINNING, new_meanings
from crm_attribution_tests.helpers import at

NOW = at("2026-03-05T09:00:00Z")
LATER = NOW + timedelta(days=1)
STAGE, MEANING = "raw.pipeline_stage", "raw.stage_meaning"


def stages(**told: tuple[bool, float | None]) -> pl.DataFrame:
    rows = [
        {"object_type": "deals", "stage_id": name, "is_closed": closed, "probability": chance}
        for name, (closed, chance) in told.items()
    ]
    return CONTRACTS[STAGE].conform(pl.DataFrame(rows, schema_overrides={"probability": pl.Float64}))


def rows(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.select("stage_id", "known_from", "is_closed", "is_won").sort("stage_id", "known_from").rows()


def test_first_seen_means_from_the_beginning():
    nothing = CONTRACTS[MEANING].empty()
    listed = stages(open=(False, 0.5), won=(True, 1.0), lost=(True, 0.0), odd=(True, None))
    assert rows(new_meanings(nothing, CONTRACTS[STAGE].empty(), listed, NOW)) == [
        ("lost", BEGINNING, True, False),
        ("odd", BEGINNING, True, False),
        ("open", BEGINNING, False, False),
        ("won", BEGINNING, True, True),
    ]


def test_a_change_is_told_once_and_from_when_it_was_seen():
    first, second = stages(signed=(False, 0.9)), stages(signed=(True, 1.0))
    known = CONTRACTS[MEANING].conform(new_meanings(CONTRACTS[MEANING].empty(), CONTRACTS[STAGE].empty(), first, NOW))
    told = new_meanings(known, first, second, LATER)
    assert rows(told) == [("signed", LATER, True, True)]
    known = pl.concat([known, CONTRACTS[MEANING].conform(told)])
    assert new_meanings(known, second, second, LATER + timedelta(days=1)).is_empty()
    assert rows(new_meanings(known, second, first, LATER + timedelta(days=1)))[0][2:] == (False, False)


def test_what_was_stored_before_the_journal_began_counts_as_first_seen():
    told = new_meanings(CONTRACTS[MEANING].empty(), stages(signed=(False, 0.9)), stages(signed=(True, 1.0)), NOW)
    assert rows(told) == [("signed", BEGINNING, False, False), ("signed", NOW, True, True)]
    gone = new_meanings(CONTRACTS[MEANING].empty(), stages(old=(True, 1.0)), CONTRACTS[STAGE].empty(), NOW)
    assert rows(gone) == [("old", BEGINNING, True, True)]
