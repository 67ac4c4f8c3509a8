"""The data directory's Dagster instance, and runs whose process is gone."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources as package_files
from pathlib import Path
from typing import Any

import dagster as dg

from crm_attribution import errors
from crm_attribution.clock import Clock, WallClock
from crm_attribution.errors import WarehouseBusy
from crm_attribution.redaction import redact, redact_secrets
from crm_attribution.settings import Settings, set_environment
from crm_attribution.warehouse.lock import RunLock, process_alive, process_start_token

RECONCILIATION = dg.AssetSelection.assets(*(dg.AssetKey(["raw", name]) for name in ("missing", "closed_won")))
"""What the daily job materializes and no hour."""


_ACTIVE = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""NOT_STARTED too: a command that is killed while it makes its run leaves it so."""


_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+: )")


_NOTES_KEPT = timedelta(days=14)


_UNKNOWN_AFTER = timedelta(minutes=10)
"""A started run that never noted its process is given up after this time, if nobody holds the run lock."""


def dagster_home(given: Settings) -> Path:
    """The data directory's own Dagster home, with its dagster.yaml, created where it is missing.

    Only one process may initialise an empty home: two together leave it in a state that neither can open again. So
    whoever comes first writes the file and opens the instance once under a lock, and the others wait for the mark.
    The mark holds what was written: a file of an earlier version is replaced, one that a person changed is kept.
    """
    home = given.make_data_dir() / "dagster"
    config, mark = home / "dagster.yaml", home / ".initialised"
    wanted = (package_files.files("crm_attribution") / "dagster.yaml").read_text(encoding="utf-8")
    set_environment(
        {"DAGSTER_HOME": str(home), "CRM_ATTRIBUTION_DATA_DIR": str(given.data_dir), "DAGSTER_EVENT_BATCH_SIZE": "1000"}
    )
    with RunLock(home / "init.lock").acquire(60, {"run_id": "initialise", "command": "set-up"}):
        if _is_ours(config, mark) and (not config.exists() or config.read_text(encoding="utf-8") != wanted):
            mark.unlink(missing_ok=True)
            config.write_text(wanted, encoding="utf-8")
        if not mark.exists():
            with dg.DagsterInstance.get() as instance:
                instance.get_run_records(limit=1)
            mark.write_text(_digest(config), encoding="utf-8")
    return home


def _is_ours(config: Path, mark: Path) -> bool:
    """Whether the file is as it was written here; releases that wrote an empty mark replaced whatever they found."""
    known = mark.read_text(encoding="utf-8") if mark.exists() else ""
    return not known or not config.exists() or _digest(config) == known


def _digest(config: Path) -> str:
    return hashlib.sha256(config.read_bytes()).hexdigest()


def reason(event: dg.DagsterEvent, secrets: Sequence[str]) -> str:
    """Why a step or a run failed: the innermost message, for a person; without Dagster's wrapping and its traceback.

    Our own messages name settings and places on purpose and are shown as they are, but for secrets; other libraries'
    may quote anything and are redacted.
    """
    data: Any = event.event_specific_data
    first = getattr(data, "first_step_failure_event", None)
    if first is not None:
        return reason(first, secrets)
    step = f"{event.step_key.replace('__', '.')}: " if event.step_key else ""
    failure = getattr(data, "user_failure_data", None)
    error = getattr(data, "error", None)
    if failure is not None and failure.description:
        return step + redact_secrets(failure.description, secrets)
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return step + redact(event.message or "no reason was recorded", secrets)
    text = _MODULE.sub("", error.message.strip())
    if hasattr(errors, error.cls_name or ""):
        return step + redact_secrets(text.removeprefix(f"{error.cls_name}: "), secrets)
    return step + redact(text, secrets)


def note_process(given: Settings, run_id: str, since: str) -> None:
    """Write down which process executes a run, so that a killed one can be told from a slow one."""
    folder = given.data_dir / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"pid": os.getpid(), "started": process_start_token(), "since": since})
    half = folder / f".{run_id}.{os.getpid()}"
    half.write_text(text, encoding="utf-8")
    half.replace(folder / f"{run_id}.json")


def clear_dead_runs(given: Settings) -> None:
    """`fail_dead_runs` on the data directory's own Dagster home, before something else starts there."""
    dagster_home(given)
    with dg.DagsterInstance.get() as instance:
        fail_dead_runs(instance, given)


def fail_dead_runs(instance: dg.DagsterInstance, given: Settings, clock: Clock | None = None) -> list[str]:
    """Mark runs failed whose process is gone (killed, power loss); returns their ids.

    A run that blocks the queue is worse than a second run: the lock keeps two from writing together. No run is
    declared dead while the run lock is held: its holder may be a process of another container, not visible from here.
    """
    now = (clock or WallClock()).now()
    failed = []
    _forget_old_notes(given.data_dir / "runs", now)
    for record in instance.get_run_records(dg.RunsFilter(statuses=_ACTIVE)):
        run_id = record.dagster_run.run_id
        begun = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
        alive = _process_lives(given.data_dir / "runs" / f"{run_id}.json")
        if alive is None:
            alive = _told_process_lives(instance, run_id)
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


def _told_process_lives(instance: dg.DagsterInstance, run_id: str) -> bool | None:
    """The same of the process that Dagster's own events name, for runs killed before they left a note."""
    for entry in reversed(instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        told = entry.dagster_event.event_specific_data if entry.dagster_event else None
        pid = getattr(told, "metadata", {}).get("pid")
        if pid is not None:
            # A number alone may have been given to another process since: only its absence says something.
            return None if process_alive(int(pid.value), None) else False
    return None


def _lock_is_free(given: Settings) -> bool:
    try:
        with RunLock(given.data_dir / "run.lock").acquire(0, {"run_id": "dead runs", "command": "looks for them"}):
            return True
    except WarehouseBusy:
        return False
