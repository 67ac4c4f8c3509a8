"""A range is refused by `plan` where `backfill` refuses it, and a run that sent nothing in safe mode says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution import configuration
from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger.mark import Stand
from crm_attribution.ledger.safety import why_unsafe
from crm_attribution.ledger.store import Ledger
from crm_attribution.operations.backfill import plan, unsent
from crm_attribution_tests.helpers import at


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-03-10T10:30:00Z", "2026-03-10T12:00:00Z", "full hours"),
        ("2026-03-10T12:00:00Z", "2026-03-10T12:00:00Z", "full hours"),
        ("2026-03-09T00:00:00Z", "2026-03-10T12:00:00Z", "the first hour is 2026-03-10"),
        ("2026-03-10T10:00:00Z", "2026-03-12T14:00:00Z", "the hour 2026-03-12-13:00 .UTC. is not over"),
    ],
)
def test_a_range_that_cannot_be_run_is_not_planned(tmp_path: Path, start: str, end: str, message: str):
    given = configuration.load(
        {
            "CRM_ATTRIBUTION_DATA_DIR": str(tmp_path),
            "CRM_ATTRIBUTION_START": "2026-03-10T00:00:00Z",
            "CRM_ATTRIBUTION_CLOCK": "2026-03-12T13:20:00Z",
        }
    )
    with pytest.raises(ConfigurationError, match=message):
        plan(given, at(start), at(end))


def test_only_a_ledger_in_safe_mode_makes_a_run_fail_that_sent_nothing(tmp_path: Path):
    unsafe = why_unsafe(Ledger(tmp_path), Stand("gone", 3))
    assert unsafe is not None
    assert "crm-attribution ledger recover" in unsafe
    assert unsent({"delivery.meta": {"alert": unsafe}, "raw.contact": {}}) == unsafe
    assert unsent({"delivery.meta": {"alert": "check META_ACCESS_TOKEN"}, "delivery.google": {"sent": 3}}) is None
