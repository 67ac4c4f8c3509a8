"""Runs of the same definitions from the command line: same instance, same assets, same lock as the UI's."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from crm_attribution import stopping
from crm_attribution.clock import WallClock, iso
from crm_attribution.errors import ConfigurationError, Stopped, Terminal
from crm_attribution.orchestration import hours
from crm_attribution.orchestration.compute_logs import ComputeLogs
from crm_attribution.orchestration.instance import RECONCILIATION, dagster_home, fail_dead_runs, note_process, reason
from crm_attribution.settings import Settings


def run_hours(
    given: Settings, start: datetime, end: datetime, *, select: str | None = None, tags: Mapping[str, str] | None = None
) -> str:
    """Materialize the hours [start, end) as one run; returns the run id.

    Args:
        given: settings of this process.
        start: first hour, UTC.
        end: exclusive.
        select: an asset selection in Dagster's syntax; everything by default.
        tags: further run tags.

    Raises:
        ConfigurationError: when there is no whole hour between them, or the selection names nothing.
        Terminal: when the run fails; the message is that of the first failed step.
    """
    check_range(given, start, end)
    dagster_home(given)
    from crm_attribution.orchestration.graph import definitions

    job = definitions().resolve_job_def("hourly")
    keys = (hours.key(start), hours.key(end - hours.HOUR))
    span = (
        {"dagster/partition": keys[0]}
        if keys[0] == keys[1]
        else {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[1]}
    )
    chosen = _selected(select)
    return _execute(given, job, tags={**span, **(tags or {})}, asset_selection=chosen).run_id


def check_range(given: Settings, start: datetime, end: datetime) -> None:
    """Refuse a range of hours that cannot be run.

    Raises:
        ConfigurationError: when there is no whole hour between them, they begin before the first hour, or the first
            hour is not over.
    """
    if start >= end or any(m.minute or m.second or m.microsecond for m in (start, end)):
        raise ConfigurationError("the range needs full hours, --from before --to")
    if start < given.start:
        raise ConfigurationError(f"the first hour is {given.start:%Y-%m-%dT%H:00Z} (CRM_ATTRIBUTION_START)")
    if (now := WallClock().now()) < given.start + hours.HOUR:
        raise ConfigurationError(
            f"the first hour is {iso(given.start)} (CRM_ATTRIBUTION_START) and is not over: it is {iso(now)}"
        )


def _execute(
    given: Settings, job: dg.JobDefinition, ops: Mapping[str, Any] | None = None, **options: Any
) -> dg.ExecuteInProcessResult:
    """Execute a job in this process, found by the next command however early it is killed.

    Raises:
        Stopped: when a signal ended it.
        Terminal: when it fails; the message is that of the first failed step.
    """
    if not gc.isenabled():  # the command line switched it off while everything was loaded, which is there to stay
        gc.freeze()
        gc.enable()
    run_id = str(uuid4())
    note_process(given, run_id, iso(WallClock().now()))
    with stopping.watched(), dg.DagsterInstance.get() as instance:
        fail_dead_runs(instance, given)
        if isinstance(instance.compute_log_manager, ComputeLogs):
            instance.compute_log_manager.on_the_terminal()
        outcome = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            run_config={"ops": ops or {}, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            **options,
        )
        if stopping.received() is not None:
            raise Stopped(stopping.line(), stopping.received())
        if not outcome.success:
            raise Terminal(_why(outcome, given.secrets()))
    return outcome


def run_job(given: Settings, name: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Run a job that has no partitions; returns the run id and what its ops reported.

    Args:
        given: settings of this process.
        name: the job.
        config: op -> its config.

    Raises:
        Terminal: when the run fails; the message is that of the first failed step.
    """
    dagster_home(given)
    from crm_attribution.orchestration.graph import definitions

    job = definitions().resolve_job_def(name)
    outcome = _execute(given, job, {op: {"config": dict(values)} for op, values in config.items()})
    ended = [event for event in outcome.all_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    data: list[Any] = [event.event_specific_data for event in ended]
    return outcome.run_id, {name: value.value for one in data for name, value in one.metadata.items()}


def selected(select: str | None) -> set[str] | None:
    """The tables a selection names, None for all.

    Raises:
        ConfigurationError: when it cannot be read, or names nothing.
    """
    keys = _selected(select)
    return None if keys is None else {".".join(key.path) for key in keys}


def told(given: Settings, run_id: str) -> tuple[dict[str, dict[str, Any]], list[dict[str, str]]]:
    """What a run reported: table -> its plain figures, and the checks that do not hold (table, check, severity)."""
    dagster_home(given)
    with dg.DagsterInstance.get() as instance:
        return _materializations(instance, run_id), _failed_checks(instance, run_id)


def _materializations(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, Any]]:
    """Table -> its plain figures."""
    tables: dict[str, dict[str, Any]] = {}
    for record in _events(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION):
        made = record.asset_materialization
        if made is not None:
            tables[".".join(made.asset_key.path)] = {
                name: value.value
                for name, value in made.metadata.items()
                if isinstance(value.value, str | int | float | bool)
            }
    return tables


def _failed_checks(instance: dg.DagsterInstance, run_id: str) -> list[dict[str, str]]:
    """Checks that do not hold after a run: table, check, severity (warning or error); errors first."""
    found: dict[tuple[str, str], str] = {}
    for record in _events(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        event = record.event_log_entry.dagster_event
        told = None if event is None else event.asset_check_evaluation_data
        if told is not None and not told.passed:
            severity = "warning" if told.severity is dg.AssetCheckSeverity.WARN else "error"
            found[".".join(told.asset_key.path), told.check_name] = severity
    rows = [{"table": table, "check": check, "severity": severity} for (table, check), severity in found.items()]
    return sorted(rows, key=lambda row: (row["severity"], row["table"], row["check"]))


def _events(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> Iterator[dg.EventLogRecord]:
    """A run's events of one type, in their order."""
    cursor, more = None, True
    while more:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=kind, limit=1000)
        yield from page.records
        cursor, more = page.cursor, page.has_more


def _selected(select: str | None) -> list[dg.AssetKey] | None:
    if select is None:
        return None
    from crm_attribution.orchestration.graph import definitions

    graph = definitions().resolve_asset_graph()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # `group:` uses one of Dagster's newer parameters
            found = (dg.AssetSelection.from_string(select) - RECONCILIATION).resolve(graph)
    except dg.DagsterError as error:
        raise ConfigurationError(
            f"--select {select!r} cannot be read; it is Dagster's selection syntax, such as "
            'group:"raw/*", key:"raw/contact"+ or group:"marts" or key:"finance/publication"'
        ) from error
    if not found:
        groups = ", ".join(sorted({name for key in graph.get_all_asset_keys() if (name := graph.get(key).group_name)}))
        raise ConfigurationError(f"--select {select!r} names no asset; the groups are {groups}")
    return sorted(found)


def _why(outcome: dg.ExecuteInProcessResult, secrets: Sequence[str]) -> str:
    failures = [event for event in outcome.all_events if event.is_failure]
    return reason(failures[0], secrets) if failures else f"run {outcome.run_id} failed"
