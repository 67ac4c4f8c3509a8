"""Runs of the same definitions from the command line: same instance, same assets, same lock as the UI's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import resources as package_files
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from crm_attribution.clock import Clock, WallClock
from crm_attribution.errors import ConfigurationError, Terminal
from crm_attribution.settings import Settings, set_environment
from crm_attribution.warehouse.lock import RunLock, process_alive

HOUR = timedelta(hours=1)
_ACTIVE = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_UNKNOWN_AFTER = timedelta(minutes=10)
"""A started run that never noted its process is given up after this time, if nobody holds the run lock."""


def dagster_home(given: Settings) -> Path:
    """The data directory's own Dagster home, with its dagster.yaml, created where it is missing.

    Only one process may initialise an empty home: the instance is opened here once, before anything else starts.
    """
    home = given.data_dir / "dagster"
    config = home / "dagster.yaml"
    wanted = (package_files.files("crm_attribution") / "dagster.yaml").read_text(encoding="utf-8")
    set_environment({"DAGSTER_HOME": str(home), "CRM_ATTRIBUTION_DATA_DIR": str(given.data_dir)})
    if not config.exists() or config.read_text(encoding="utf-8") != wanted:
        home.mkdir(parents=True, exist_ok=True)
        config.write_text(wanted, encoding="utf-8")
        holder = {"run_id": "initialise", "command": "set-up"}
        with RunLock(home / "init.lock").acquire(60, holder), dg.DagsterInstance.get() as instance:
            instance.get_run_records(limit=1)
    return home


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
    if start >= end or any(m.minute or m.second or m.microsecond for m in (start, end)):
        raise ConfigurationError("the range needs full hours, --from before --to")
    if start < given.start:
        raise ConfigurationError(f"the first hour is {given.start:%Y-%m-%dT%H:00Z} (CRM_ATTRIBUTION_START)")
    dagster_home(given)
    from crm_attribution.definitions import definitions

    job = definitions().resolve_job_def("hourly")
    keys = (_key(start), _key(end - HOUR))
    span = (
        {"dagster/partition": keys[0]}
        if keys[0] == keys[1]
        else {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[1]}
    )
    chosen = _selected(select)
    with dg.DagsterInstance.get() as instance:
        fail_dead_runs(instance, given)
        outcome = job.execute_in_process(
            instance=instance,
            tags={**span, **(tags or {})},
            asset_selection=chosen,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        if not outcome.success:
            raise Terminal(_why(outcome))
    return outcome.run_id


def _key(hour: datetime) -> str:
    return hour.astimezone(UTC).strftime("%Y-%m-%d-%H:%M")


def _selected(select: str | None) -> list[dg.AssetKey] | None:
    if select is None:
        return None
    from crm_attribution.definitions import definitions

    graph = definitions().resolve_asset_graph()
    found = dg.AssetSelection.from_string(select).resolve(graph)
    if not found:
        raise ConfigurationError(f"--select {select!r} names no asset")
    return sorted(found)


def _why(outcome: dg.ExecuteInProcessResult) -> str:
    for event in outcome.all_events:
        data = event.event_specific_data
        if event.is_failure and data is not None:
            failure = getattr(data, "user_failure_data", None)
            error = getattr(data, "error", None)
            step = f"{event.step_key}: " if event.step_key else ""
            if failure is not None and failure.description:
                return f"{step}{failure.description}"
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return f"{step}{error.message.strip()}"
    return f"run {outcome.run_id} failed"


def fail_dead_runs(instance: dg.DagsterInstance, given: Settings, clock: Clock | None = None) -> list[str]:
    """Mark runs failed whose process is gone (killed, power loss); returns their ids.

    A run that holds the queue for ever is worse than a second run: the lock keeps two from writing at once.
    """
    now = (clock or WallClock()).now()
    lock_free = RunLock(given.data_dir / "run.lock").holder() is None
    failed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_ACTIVE)):
        run_id = record.dagster_run.run_id
        note = given.data_dir / "runs" / f"{run_id}.json"
        if note.exists():
            known = json.loads(note.read_text(encoding="utf-8"))
            gone = not process_alive(int(known["pid"]), known["started"])
        else:
            begun = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
            gone = lock_free and now - begun > _UNKNOWN_AFTER
        if gone:
            instance.report_run_failed(
                record.dagster_run, "its process is gone; what it left half done is taken up by the next run"
            )
            failed.append(run_id)
    return failed
