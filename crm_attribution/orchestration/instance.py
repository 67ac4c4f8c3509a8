"""The data directory's Dagster instance, and runs whose process is gone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources as package_files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg

from crm_attribution import errors
from crm_attribution.clock import Clock, WallClock
from crm_attribution.errors import ConfigurationError, WarehouseBusy
from crm_attribution.ledger.store import why_no_answer
from crm_attribution.redaction import redact, redact_secrets
from crm_attribution.settings import DAGSTER_URL, DATA_DIR, Settings, set_environment
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


_POSTGRES = f"""\
storage:                          # set by {DAGSTER_URL.name}
  postgres:
    postgres_url: {{env: {DAGSTER_URL.name}}}
"""
_INSTALL = "pip install 'crm-attribution[postgres]'"


_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+: )")


_NOTES_KEPT = timedelta(days=14)


_UNKNOWN_AFTER = timedelta(minutes=10)
"""A started run that never noted its process is given up after this time, if nobody holds the run lock."""


def dagster_home(given: Settings) -> Path:
    """The data directory's own Dagster home, with its dagster.yaml, created where it is missing.

    Only one process may initialise an empty home: two together leave it in a state that neither can open again. So
    whoever comes first writes the file and opens the instance once under a lock, and the others wait for the mark.
    The mark holds what was written: a file of an earlier version is replaced, one that a person changed is kept.

    Raises:
        ConfigurationError: when Dagster's storage is in PostgreSQL and its driver is not installed.
    """
    home = given.make_data_dir() / "dagster"
    config, mark = home / "dagster.yaml", home / ".initialised"
    wanted = _wanted(given)
    set_environment(
        {
            "DAGSTER_HOME": str(home),
            DATA_DIR.name: str(given.data_dir),
            "DAGSTER_EVENT_BATCH_SIZE": "1000",
            DAGSTER_URL.name: given[DAGSTER_URL],
        }
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


def keep_connections(instance: dg.DagsterInstance) -> None:
    """In PostgreSQL Dagster connects anew for each event, but in its web server; a run has some eight hundred."""
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=4)


def _wanted(given: Settings) -> str:
    """What `dagster.yaml` says: the shipped file, with the storage of `CRM_ATTRIBUTION_DAGSTER_URL` in place of SQLite.
    https://docs.dagster.io/deployment/oss/oss-instance-configuration#postgres-storage"""
    shipped = (package_files.files("crm_attribution") / "dagster.yaml").read_text(encoding="utf-8")
    if not given[DAGSTER_URL]:
        return shipped
    if find_spec("dagster_postgres") is None:
        raise ConfigurationError(f"{DAGSTER_URL.name}: dagster-postgres is not installed: {_INSTALL}")
    if why := why_no_answer(given[DAGSTER_URL]):
        raise ConfigurationError(f"{DAGSTER_URL.name}: {redact(why)}; start the database, or correct the address")
    return re.sub(r"^event_log_storage:.*\n(?: .*\n)*", _POSTGRES, shipped, flags=re.MULTILINE)


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
    text = json.dumps(
        {"host": socket.gethostname(), "pid": os.getpid(), "started": process_start_token(), "since": since}
    )
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
        alive = _process_lives(given.data_dir / "runs" / f"{run_id}.json", instance, run_id)
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


def _process_lives(note: Path, instance: dg.DagsterInstance, run_id: str) -> bool | None:
    """Whether the process of a run still runs; None where that cannot be seen from here: a worker on another host."""
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if known.get("host", socket.gethostname()) != socket.gethostname():
            return None
        return process_alive(int(known["pid"]), known["started"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _told_process_lives(instance, run_id)


def _told_process_lives(instance: dg.DagsterInstance, run_id: str) -> bool | None:
    """Of the process that Dagster's own events name, for runs killed before they left a note that can be read."""
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
