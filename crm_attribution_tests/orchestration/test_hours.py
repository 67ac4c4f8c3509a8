"""The hours Dagster offers are those that can be run: they end at the clock in force."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from crm_attribution.clock import Clock, FixedClock, WallClock
from crm_attribution.errors import ConfigurationError
from crm_attribution.orchestration import hours
from crm_attribution.orchestration.run_setup import check_closed

pytestmark = pytest.mark.pipeline

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = WallClock().now

LOADED = """
import json, dagster as dg
from crm_attribution.definitions import defs
hourly = {str(node.partitions_def.get_last_partition_key()) for node in defs.resolve_asset_graph().asset_nodes
          if node.partitions_def}
with dg.build_schedule_context() as context:
    tick = defs.resolve_schedule_def("hourly_schedule").evaluate_tick(context)
print(json.dumps([sorted(hourly), [request.partition_key for request in tick.run_requests]]))
"""
"""What the code server shows: the last hour of every hourly asset, and what the schedule would start now."""


def offered(clock: Clock) -> list[str]:
    return list(hours.hourly(START, clock).get_partition_keys())


def runs(key: str, clock: Clock) -> bool:
    """Whether a run of the hour gets past the check that its hour is over."""
    try:
        check_closed(SimpleNamespace(clock=clock), {"dagster/partition": key})  # type: ignore[arg-type]
    except ConfigurationError:
        return False
    return True


MOMENTS = {
    "the first hour is just over": lambda: datetime(2026, 1, 1, 1, tzinfo=UTC),
    "on the hour": lambda: datetime(2026, 3, 13, 20, tzinfo=UTC),
    "before the hour": lambda: datetime(2026, 3, 13, 20, 59, 59, 999999, tzinfo=UTC),
    "now": NOW,
    "ahead of the machine by an hour": lambda: NOW() + timedelta(minutes=61),
    "ahead by days": lambda: NOW() + timedelta(days=40, seconds=1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_last_hour_offered_is_the_newest_that_runs(moment):
    clock = FixedClock(MOMENTS[moment]())
    last = offered(clock)[-1]
    after = hours.key(hours.begin(last) + hours.HOUR)
    assert (runs(last, clock), runs(after, clock)) == (True, False)


def test_before_the_first_hour_is_over_there_is_none():
    assert offered(FixedClock(START + timedelta(minutes=59))) == []


def test_under_the_machines_clock_they_grow_by_themselves():
    assert hours.hourly(START, WallClock()).end is None
    assert runs(offered(WallClock())[-1], WallClock())


def test_a_key_is_read_back_and_does_not_depend_on_the_zone_of_a_time():
    there = datetime.fromisoformat("2026-03-13T22:00:00+02:00")
    assert hours.key(there) == "2026-03-13-20:00"
    assert hours.begin(hours.key(there)) == there


def test_what_dagster_loads_ends_at_the_clock_setting(tmp_path: Path):
    given = {"CRM_ATTRIBUTION_CLOCK": "2026-03-13T20:30:00Z", "CRM_ATTRIBUTION_DATA_DIR": str(tmp_path)}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], env={**kept, **given}, capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads(loaded.stdout) == [["2026-03-13-19:00"], ["2026-03-13-19:00"]]
