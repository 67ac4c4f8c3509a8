"""What a backfill costs: the arithmetic against a walk, and the plan against what a run then really asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution import configuration
from crm_attribution.cli import main
from crm_attribution.clock import parse_instant
from crm_attribution.errors import ConfigurationError
from crm_attribution.hubspot import cost
from crm_attribution.operations import backfill as backfilling
from crm_attribution.orchestration import budget
from crm_attribution.orchestration.budget import BUDGET_TAG
from crm_attribution.orchestration.resources import open_pipeline
from crm_attribution.orchestration.runs import selected
from crm_attribution_tests.sandbox.lines import create
from crm_attribution_tests.sandbox_process import Line, Sandbox

pytestmark = pytest.mark.pipeline

START = parse_instant("2026-03-09T00:00:00Z")
CONTACTS, MEETINGS = 230, 201


def walked(rows: int, page: int) -> int:
    """Pages counted one by one."""
    calls, left = 0, rows
    while left > 0:
        calls, left = calls + 1, left - page
    return calls


@given(found=st.integers(0, 30_000), total=st.integers(0, 30_000), pairs=st.integers(0, 2))
def test_the_arithmetic_counts_pages_and_takes_the_cheaper_way(found: int, total: int, pairs: int):
    total = max(found, total)
    search, listing = cost.search_calls(found), cost.list_calls(total)
    assert search == max(1, walked(found, 200)) + walked(found, 50)
    assert listing == max(1, walked(total, 50))
    assert cost.association_calls(found, pairs) == walked(found, 1_000) * pairs
    assert {"search": search, "list": listing}[cost.cheaper(found, total)] == min(search, listing)
    line = budget.object_line("contacts", found, total, everything=False)
    records = total if line.way == "list" else found
    assert sum(line.calls.values()) == min(search, listing) + (line.way == "list") + walked(records, 1_000)


def contact(number: int, at: str) -> Line:
    properties = {"email": f"p{number}@acme.example"}
    return {"at": at, "op": "create", "object": "contacts", "id": str(number), "properties": properties}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    begun: Line = {"at": "2026-01-01T00:00:00Z", "op": "account", "account": {"portalId": 1, "timeZone": "UTC"}}
    lines = [contact(number, "2026-02-01T00:00:00Z") for number in range(1, CONTACTS + 1)]
    lines += [create("2026-02-01T00:00:00Z", "meetings", number) for number in range(1, MEETINGS + 1)]
    with Sandbox.start([begun, *lines], "2026-03-12T00:00:00Z") as running:
        yield running


@pytest.fixture
def env(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    more = {"CRM_ATTRIBUTION_DATA_DIR": str(tmp_path), "CRM_ATTRIBUTION_START": "2026-03-09T00:00:00Z"}
    sandbox.set_limits(on=False, daily=250_000)
    return {**sandbox.env, **more}


def test_the_plan_of_a_first_load_is_what_it_then_asks(sandbox, env):
    pipeline = open_pipeline(configuration.load(env))
    sandbox.reset_calls()
    plan = budget.make_plan(pipeline, START)
    assert plan.asked == sandbox.calls()["total"] == 5
    planned = {line.stream: (line.records, line.way, sum(line.calls.values())) for line in plan.lines}
    assert planned["contacts"] == (CONTACTS, "list", 5 + 1 + 1)
    assert planned["companies"] == (0, "list", 2)
    sandbox.reset_calls()
    readers = pipeline.readers
    readers.reference.account()
    readers.records.read("contacts", None)
    assert sandbox.calls()["total"] - 1 == 7
    assert plan.share == plan.calls / 250_000
    later = budget.make_plan(pipeline, START + timedelta(hours=24))
    by_stream = {line.stream: line for line in later.lines}
    assert (by_stream["contacts"].records, by_stream["contacts"].way) == (0, "search")
    assert later.minutes == pytest.approx(later.by_limiter["burst"] / 9 / 60)


def test_an_expensive_backfill_is_refused_and_a_short_one_costs_nothing(sandbox, env):
    sandbox.set_limits(on=True, daily=40)
    given = configuration.load({**env, "HUBSPOT_BACKFILL_SHARE": "10", "HUBSPOT_DAILY_RESERVE": "0"})
    message = r"at least \d+ calls, \d+% of the account's 40 a day; 10% are allowed \(HUBSPOT_BACKFILL_SHARE\).*--force"
    with pytest.raises(ConfigurationError, match=message):
        backfilling.allow(given, START, START + timedelta(hours=1))
    sandbox.reset_calls()
    hour = START + timedelta(hours=30)
    assert backfilling.allow(given, hour, hour + timedelta(hours=1)) == 0
    assert backfilling.allow(given, START, START + timedelta(hours=1), 'key:"raw/account"') == 0
    assert sandbox.calls()["total"] == 0
    generous = configuration.load({**env, "HUBSPOT_BACKFILL_SHARE": "100", "HUBSPOT_DAILY_RESERVE": "0"})
    assert backfilling.allow(generous, START, START + timedelta(hours=1)) == 4


@pytest.mark.parametrize("said", ["checked", "forced"])
def test_a_run_started_in_dagster_is_refused_likewise_unless_it_says_so(sandbox, env, said: str):
    sandbox.set_limits(on=True, daily=40)
    given = configuration.load({**env, "HUBSPOT_BACKFILL_SHARE": "10", "HUBSPOT_DAILY_RESERVE": "0"})
    pipeline = open_pipeline(given)
    with pytest.raises(ConfigurationError, match="run tag crm_attribution/budget: forced"):
        budget.check_run(pipeline, None, START + timedelta(hours=1))
    sandbox.reset_calls()
    budget.check_run(pipeline, START + timedelta(hours=30), START + timedelta(hours=31))
    pipeline.tags = {BUDGET_TAG: said}
    budget.check_run(pipeline, None, START + timedelta(hours=1))
    assert sandbox.calls()["total"] == 0


def test_a_selection_for_hours_has_nothing_of_the_daily_reconciliation():
    chosen = selected('group:"raw/*"')
    assert chosen is not None
    assert "raw.contact" in chosen
    assert "raw.missing" not in chosen


def test_the_command_prints_calls_minutes_and_share(env):
    arguments = ["plan", "--from", "2026-03-09", "--to", "2026-03-12"]
    done = CliRunner().invoke(main, arguments, env=env)
    assert done.exit_code == 0, done.output
    for wanted in ("contacts", "230", "list", "at least 1", "minutes at the account's limits", "share of the day: "):
        assert wanted in done.stdout


def test_streams_that_are_on_are_counted_like_the_others(sandbox, env, tmp_path):
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("streams: {meetings: on, calls: on, marketing_events: on, campaigns: on}", encoding="utf-8")
    pipeline = open_pipeline(configuration.load({**env, "CRM_ATTRIBUTION_MAPPING": str(mapping)}))
    sandbox.faults([{"route": "POST /crm/objects/*/calls/search", "kind": "403", "scope": "calls", "count": 1}])
    plan = budget.make_plan(pipeline, START)
    lines = {line.stream: (line.records, dict(line.calls), line.at_least) for line in plan.lines[-4:]}
    assert lines == {
        "meetings": (MEETINGS, {"search": 3, "associations": 2}, False),
        "calls": (None, {"search": 1}, True),
        "marketing events": (None, {"burst": 1}, True),
        "campaigns": (None, {"burst": 1}, True),
    }
    sandbox.reset_calls()
    pipeline.readers.activities.read(None)
    asked = sandbox.calls()["routes"]
    assert sum(number for route, number in asked.items() if "meetings" in route) == 3 + 2
