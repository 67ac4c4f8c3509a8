"""Which forms a run reads: quiet ones in their hour of the day, and none is skipped."""

from __future__ import annotations

import zlib
from datetime import timedelta

import polars as pl

from crm_attribution.mapping import load
from crm_attribution.raw.rules.form_schedule import forms_due
from crm_attribution_tests.helpers import at

NOW, HOUR = at("2026-03-10T12:00:00Z"), timedelta(hours=1)
RULES = load().streams.forms.model_copy(update={"every_hour_up_to": 2, "quiet_days": 7})
MANY = [f"form-{number}" for number in range(100)]


def forms(
    names: list[str], archived: bool = True, newest: timedelta = timedelta(days=90), read: bool = True
) -> pl.DataFrame:
    moment = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        {"id": names, "archived": archived, "newest": [NOW - newest] * len(names)},
        schema_overrides={"newest": moment},
    ).with_columns(read_to=pl.lit(NOW if read else None, moment))


def due(given: pl.DataFrame, hours: float) -> set[str]:
    return set(forms_due(given, NOW - hours * HOUR, NOW, RULES)["id"])


def test_a_quiet_form_is_read_in_its_hour_of_the_day():
    for hours in (1, 22, 23, 24):
        touched = {(12 - back) % 24 for back in range(hours + 1)}
        assert due(forms(MANY), hours) == {name for name in MANY if zlib.crc32(name.encode()) % 24 in touched}, hours
    assert due(forms(MANY), 22) != set(MANY)
    assert due(forms(MANY), 23) == set(MANY)
    assert set(forms_due(forms(MANY), None, NOW, RULES)["id"]) == set(MANY)


def test_what_is_awake_unread_or_one_of_few_is_read_every_hour():
    assert due(forms(MANY, newest=timedelta(days=7)), 1) == set(MANY)
    assert due(forms(MANY, newest=timedelta(days=7, microseconds=1)), 1) != set(MANY)
    assert due(forms(MANY, read=False), 1) == set(MANY)
    assert due(forms(MANY[:2], archived=False), 1) == set(MANY[:2])
    several = forms(MANY, archived=False)
    assert due(several, 1) == due(forms(MANY), 1), "above that they take turns"
