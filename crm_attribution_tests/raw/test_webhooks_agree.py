"""Webhooks bring forward what extraction finds an hour later, and bring what it cannot find; they never disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crm_attribution.clock import FixedClock, parse_instant
from crm_attribution.raw import webhooks as inbox
from crm_attribution_tests.raw.portal import Portal, Reading, minute
from crm_attribution_tests.raw.test_going_on import HOURS, busy, state, told_at_the_end
from crm_attribution_tests.raw.test_scenarios import company
from crm_attribution_tests.webhook.requests import ENVIRONMENT, SECRET
from crm_attribution_tests.webhook.test_receive import Running, receiver

pytestmark = pytest.mark.sandbox

__all__ = ["told_at_the_end"]  # a fixture


def deliver(reading: Reading, to: Running, **options: Any) -> dict[str, int]:
    """HubSpot's webhooks through the real receiver into the warehouse."""
    url = f"http://127.0.0.1:{to.port}/webhooks/hubspot"
    counted = reading.sandbox.webhooks(url, SECRET, public_url=ENVIRONMENT["HUBSPOT_WEBHOOK_URL"], **options)
    clock = FixedClock(parse_instant(reading.sandbox.clock()))
    inbox.load(reading.warehouse, clock, to.folder.parent)
    return counted


def test_raw_tables_are_the_same_with_webhooks_and_without(tmp_path: Path, told_at_the_end: dict[str, list[Any]]):
    portal = busy()
    lines, portal.lines = portal.lines, [line for line in portal.lines if parse_instant(line["at"]) < minute(400)]
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        portal.lines = lines
        clock = f"{reading.sandbox.base_url}/_sandbox/clock"
        with receiver(tmp_path / "data", CRM_ATTRIBUTION_CLOCK=clock) as running:
            reading.read(None)
            reading.sandbox.forget_webhooks()
            for hour in range(1, HOURS + 1):
                reading.play(portal, minute(400 + 60 * hour))
                counted = deliver(reading, running, shuffle=hour, duplicate=True)
                assert counted["refused"] == 0
                known = set(reading.rows("SELECT object_type, absorbed_id, survivor_id FROM raw.merge"))
                reading.read(minute(340 + 60 * hour))
                assert set(reading.rows("SELECT object_type, absorbed_id, survivor_id FROM raw.merge")) == known
        found, left = state(reading), reading.rows("SELECT * FROM raw.reread")
    gone = {row[1] for row in found["raw.merge"]}
    for name in ("raw.contact", "raw.company", "raw.deal"):
        assert [row for row in found[name] if row[0] not in gone] == told_at_the_end[name]
    assert found["raw.merge"] == told_at_the_end["raw.merge"]
    assert found["archived"] == told_at_the_end["archived"]
    assert (found["raw.missing"], left) == ([], [])


def test_an_erasure_is_known_by_webhook_alone(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        clock = f"{reading.sandbox.base_url}/_sandbox/clock"
        with receiver(tmp_path / "data", CRM_ATTRIBUTION_CLOCK=clock) as running:
            reading.read(None)
            reading.sandbox.forget_webhooks()
            portal.erase(minute(410), "12")
            reading.play(portal, minute(460))
            deliver(reading, running)
            reading.read(minute(400))
        assert reading.rows("SELECT object_id, kind, deleted_at, source FROM raw.deletion") == [
            (12, "privacy", minute(410), "webhook")
        ]
        assert reading.rows("SELECT * FROM raw.missing") == []
