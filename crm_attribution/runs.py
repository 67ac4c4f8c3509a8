"""Runs of the same definitions from the command line: same instance, same assets, same lock as the UI's."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources as package_files
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from crm_attribution import errors
from crm_attribution.clock import Clock, WallClock
from crm_attribution.errors import ConfigurationError, Terminal, WarehouseBusy
from crm_attribution.redaction import redact, redact_secrets
from crm_attribution.settings import Settings, set_environment
from crm_attribution.warehouse.lock import RunLock, process_alive

HOUR = timedelta(hours=1)
RECONCILIATION = dg.AssetSelection.assets(dg.AssetKey(["raw", "missing"]))
"""What the daily job materializes and no hour."""

BUDGET_TAG = "crm_attribution/budget"
"""On a run whose share of the day's calls was looked at before (`checked`) or does not matter (`forced`)."""
_ACTIVE = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+: )")
_NOTES_KEPT = timedelta(days=14)
_UNKNOWN_AFTER = timedelta(minutes=10)
"""A started run that never noted its process is given up after this time, if nobody holds the run lock."""


def dagster_home(given: Settings) -> Path:
    """The data directory's own Dagster home, with its dagster.yaml, created where it is missing.

    Only one process may initialise an empty home: two at once leave it in a state that neither can open again. So
    whoever comes first writes the file and opens the instance once under a lock, and the others wait for the mark.
    """
    home = given.data_dir / "dagster"
    config, mark = home / "dagster.yaml", home / ".initialised"
    wanted = (package_files.files("crm_attribution") / "dagster.yaml").read_text(encoding="utf-8")
    set_environment({"DAGSTER_HOME": str(home), "CRM_ATTRIBUTION_DATA_DIR": str(given.data_dir)})
    with RunLock(home / "init.lock").acquire(60, {"run_id": "initialise", "command": "set-up"}):
        if not config.exists() or config.read_text(encoding="utf-8") != wanted:
            mark.unlink(missing_ok=True)
            config.write_text(wanted, encoding="utf-8")
        if not mark.exists():
            with dg.DagsterInstance.get() as instance:
                instance.get_run_records(limit=1)
            mark.touch()
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
            raise Terminal(_why(outcome, given.secrets()))
    return outcome.run_id


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
    from crm_attribution.definitions import definitions

    job = definitions().resolve_job_def(name)
    with dg.DagsterInstance.get() as instance:
        fail_dead_runs(instance, given)
        outcome = job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={
                "ops": {op: {"config": dict(values)} for op, values in config.items()},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        if not outcome.success:
            raise Terminal(_why(outcome, given.secrets()))
    ended = [event for event in outcome.all_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    told: list[Any] = [event.event_specific_data for event in ended]
    return outcome.run_id, {name: value.value for data in told for name, value in data.metadata.items()}


def selected(select: str | None) -> set[str] | None:
    """The tables a selection names, None for all.

    Raises:
        ConfigurationError: when it cannot be read, or names nothing.
    """
    keys = _selected(select)
    return None if keys is None else {".".join(key.path) for key in keys}


def materializations(given: Settings, run_id: str) -> dict[str, dict[str, Any]]:
    """What a run's assets reported: table -> its plain figures."""
    tables: dict[str, dict[str, Any]] = {}
    dagster_home(given)
    with dg.DagsterInstance.get() as instance:
        cursor, more = None, True
        while more:
            page = instance.get_records_for_run(
                run_id, cursor=cursor, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, limit=1000
            )
            for record in page.records:
                made = record.asset_materialization
                if made is not None:
                    tables[".".join(made.asset_key.path)] = {
                        name: value.value
                        for name, value in made.metadata.items()
                        if isinstance(value.value, str | int | float | bool)
                    }
            cursor, more = page.cursor, page.has_more
    return tables


def _key(hour: datetime) -> str:
    return hour.astimezone(UTC).strftime("%Y-%m-%d-%H:%M")


def _selected(select: str | None) -> list[dg.AssetKey] | None:
    if select is None:
        return None
    from crm_attribution.definitions import definitions

    graph = definitions().resolve_asset_graph()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # `group:` uses one of Dagster's newer parameters
            found = (dg.AssetSelection.from_string(select) - RECONCILIATION).resolve(graph)
    except dg.DagsterError as error:
        raise ConfigurationError(
            f"--select {select!r} cannot be read; it is Dagster's selection syntax, such as "
            'group:"raw", key:"raw/contact"+ or group:"marts" or key:"finance/publication"'
        ) from error
    if not found:
        raise ConfigurationError(f"--select {select!r} names no asset")
    return sorted(found)


def _why(outcome: dg.ExecuteInProcessResult, secrets: Sequence[str]) -> str:
    failures = [event for event in outcome.all_events if event.is_failure]
    return reason(failures[0], secrets) if failures else f"run {outcome.run_id} failed"


def reason(event: dg.DagsterEvent, secrets: Sequence[str]) -> str:
    """Why a step or a run failed: the innermost message, for a person; without Dagster's wrapping and its traceback.

    Our own messages name settings and places on purpose and are shown as they are, but for secrets; other libraries'
    may quote anything and are redacted.
    """
    data: Any = event.event_specific_data
    first = getattr(data, "first_step_failure_event", None)
    if first is not None:
        return reason(first, secrets)
    step = f"{event.step_key}: " if event.step_key else ""
    told = getattr(data, "user_failure_data", None)
    error = getattr(data, "error", None)
    if told is not None and told.description:
        return step + redact_secrets(told.description, secrets)
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return step + redact(event.message or "no reason was recorded", secrets)
    text = _MODULE.sub("", error.message.strip())
    return step + (redact_secrets if hasattr(errors, error.cls_name or "") else redact)(text, secrets)


def clear_dead_runs(given: Settings) -> None:
    """`fail_dead_runs` on the data directory's own Dagster home, before something else starts there."""
    dagster_home(given)
    with dg.DagsterInstance.get() as instance:
        fail_dead_runs(instance, given)


def fail_dead_runs(instance: dg.DagsterInstance, given: Settings, clock: Clock | None = None) -> list[str]:
    """Mark runs failed whose process is gone (killed, power loss); returns their ids.

    A run that holds the queue for ever is worse than a second run: the lock keeps two from writing at once. Nobody is
    declared dead while the run lock is held: its holder may be a process of another container, not visible from here.
    """
    now = (clock or WallClock()).now()
    failed = []
    _forget_old_notes(given.data_dir / "runs", now)
    for record in instance.get_run_records(dg.RunsFilter(statuses=_ACTIVE)):
        run_id = record.dagster_run.run_id
        begun = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
        alive = _process_lives(given.data_dir / "runs" / f"{run_id}.json")
        gone = alive is False or (alive is None and now - begun > _UNKNOWN_AFTER)
        if gone and _lock_is_free(given):
            instance.report_run_failed(
                record.dagster_run, "its process is gone; what it left half done is taken up by the next run"
            )
            failed.append(run_id)
    return failed


def _forget_old_notes(folder: Path, now: datetime) -> None:
    """Delete the notes of runs that began weeks ago; only runs that are still going need one."""
    for note in folder.glob("*.json"):
        if now - datetime.fromtimestamp(note.stat().st_mtime, UTC) > _NOTES_KEPT:
            note.unlink(missing_ok=True)


def _process_lives(note: Path) -> bool | None:
    """Whether the process a run noted still runs; None where it left no note that can be read."""
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return process_alive(int(known["pid"]), known["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lock_is_free(given: Settings) -> bool:
    try:
        with RunLock(given.data_dir / "run.lock").acquire(0, {"run_id": "dead runs", "command": "looks for them"}):
            return True
    except WarehouseBusy:
        return False
