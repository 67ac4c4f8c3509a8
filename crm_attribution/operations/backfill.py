"""A backfill by a person: looked at before it runs, and its plan shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.table import Table

from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.settings import BACKFILL_SHARE
from crm_attribution.ledger.safety import SAFE_MODE
from crm_attribution.operations.console import wide_console
from crm_attribution.orchestration.budget import Plan, check_budget, make_plan, must_be_planned
from crm_attribution.orchestration.hours import HOUR
from crm_attribution.orchestration.resources import open_pipeline
from crm_attribution.orchestration.run_setup import check_over
from crm_attribution.orchestration.runs import check_range, selected
from crm_attribution.settings import Settings


def allow(given: Settings, start: datetime, end: datetime, select: str | None = None) -> int:
    """Let a backfill pass, or refuse it; the calls made to find out.

    Nothing is asked for a short range without the first hour, or for a selection that reads no records.

    Raises:
        ConfigurationError: when it is refused.
    """
    chosen = selected(select)
    types = [one.name for one in OBJECT_TYPES.values() if chosen is None or one.table in chosen]
    if not types or start >= end or not must_be_planned(given.start, start, end):
        return 0
    plan = make_plan(open_pipeline(given), start, types)
    check_budget(plan, given[BACKFILL_SHARE] or 0)
    return plan.asked


def plan(given: Settings, start: datetime, end: datetime) -> Plan:
    """What a range would ask of HubSpot.

    Raises:
        ConfigurationError: where a backfill of the range would be refused, too.
    """
    check_range(given, start, end)
    pipeline = open_pipeline(given)
    check_over(pipeline, end - HOUR)
    return make_plan(pipeline, start)


def unsent(tables: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why a run sent nothing to anybody until a person acts: the ledger is in safe mode."""
    alerts = [str(facts.get("alert", "")) for name, facts in tables.items() if name.startswith("delivery.")]
    return next((alert for alert in alerts if alert.startswith(SAFE_MODE)), None)


def show(plan: Plan) -> None:
    """A plan for people."""
    console, table = wide_console(), Table("stream", "records", "how", "calls")
    for line in plan.lines:
        records = "" if line.records is None else str(line.records)
        least = "at least " if line.at_least else ""
        table.add_row(line.stream, records, line.way or "", f"{least}{sum(line.calls.values())}")
    console.print(table)
    console.print(f"calls: at least {plan.calls}, minutes at the account's limits: {plan.minutes:.1f}", highlight=False)
    if plan.share is None:
        console.print("share of the day: HubSpot names no daily quota for this credential", highlight=False)
    else:
        left = "unknown" if plan.left is None else plan.left
        console.print(f"share of the day: {plan.share:.2%} of {plan.daily}; left today: {left}", highlight=False)
