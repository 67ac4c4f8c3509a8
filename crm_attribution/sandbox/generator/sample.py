"""The committed sample, `data/sample_portal.jsonl`: two weeks of an invented B2B company."""

from __future__ import annotations

from collections.abc import Iterator

from crm_attribution.sandbox.generator.account import Setting
from crm_attribution.sandbox.generator.bulk import Timed, bulk
from crm_attribution.sandbox.generator.lines import instant
from crm_attribution.sandbox.generator.live import live
from crm_attribution.sandbox.generator.scenarios import scenarios

SEED = 20260313
CONTACTS = 260
SETTING = Setting(start=instant("2026-02-27T07:00:00Z"), end=instant("2026-03-13T20:00:00Z"))


def sample() -> Iterator[list[Timed]]:
    """Bulk, live hours and scenarios."""
    yield from bulk(SEED, CONTACTS, SETTING)
    yield from live(SEED, SETTING)
    yield from scenarios(SEED, SETTING.end)
