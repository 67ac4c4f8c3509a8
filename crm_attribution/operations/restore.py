"""The last good copy of the warehouse put back, and what has to be read again because of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Any

import polars as pl

from crm_attribution.clicks.drop_folder import move_away
from crm_attribution.clock import WallClock, iso, parse_instant
from crm_attribution.errors import ConfigurationError
from crm_attribution.http.clock import make_clock
from crm_attribution.marts import query
from crm_attribution.operations.console import wide_console, with_flags
from crm_attribution.orchestration.resources import open_warehouse, run_lock
from crm_attribution.settings import Settings
from crm_attribution.warehouse import snapshots

_SENT_ONCE = "the delivery ledger is not part of a snapshot and stands as it was: nothing is sent twice"


def restore(given: Settings, wanted: str | None = None) -> dict[str, Any]:
    """Put a snapshot back and say what will be read again.

    Files that were read after it was taken go back from the archive to the inbox; reading a row twice changes nothing.

    Raises:
        ConfigurationError: when there is no whole snapshot.
        WarehouseBusy: when a run goes on.
    """
    began = WallClock().now()
    holder = {"run_id": "restore", "command": "crm-attribution restore", "since": iso(began)}
    now = make_clock(given).now()
    with run_lock(given).acquire(given.lock_wait_seconds, holder):
        published = _closings_published(given)
        chosen = snapshots.put_back(given.data_dir, began, wanted)
        passed = [] if wanted else [name for name in snapshots.names(given.data_dir) if name > chosen.name]
        with open_warehouse(given, 0).session() as session:  # one of an earlier release is brought up to this one
            kept = set(session.query("SELECT month, state, recorded_at FROM finance.period").iter_rows())
        files = _unarchive(given.inbox, given.data_dir / snapshots.FOLDER / chosen.name / snapshots.MANIFEST)
    since = chosen.newest_hour_ends
    last = now.replace(minute=0, second=0, microsecond=0)
    again = _command(given.start if since is None else parse_instant(since), last)
    return {
        "snapshot": chosen.name,
        "passed_over": passed,
        "moved_away": str(given.data_dir / snapshots.DAMAGED),
        "stands_as_of": since,
        "read_again": again and with_flags(again),
        "files_back_in_the_inbox": files,
        "closings_lost": [with_flags(command) for command in _lost(published, kept)],
        "sending": _SENT_ONCE,
    }


def _closings_published(given: Settings) -> pl.DataFrame:
    """month, state, recorded_at, changed_by and reason of each closing and reopening, as the published file has them;
    none where there is none, or it has no such table."""
    try:
        return query.read(open_warehouse(given, 0).finance_path, "SELECT * FROM marts.period ORDER BY recorded_at")
    except ConfigurationError:
        return pl.DataFrame(schema=["month", "state", "recorded_at", "changed_by", "reason"])


def _lost(published: pl.DataFrame, kept: set[tuple[Any, ...]]) -> list[str]:
    """Closings and reopenings made after the snapshot, as commands that make them again, in their order."""
    known = {(month, state, at.replace(tzinfo=None)) for month, state, at in kept}
    verbs = {"closed": "close-month", "open": "reopen-month"}
    return [
        f"crm-attribution {verbs[row['state']]} {row['month']:%Y-%m} --by {quote(row['changed_by'])}"
        f" --reason {quote(row['reason'])}"
        for row in published.iter_rows(named=True)
        if (row["month"], row["state"], row["recorded_at"].replace(tzinfo=None)) not in known
    ]


def _command(since: datetime, last: datetime) -> str | None:
    if since >= last:
        return None
    return f"crm-attribution backfill --from {iso(since)} --to {iso(last)}"


def _unarchive(inbox: Path, manifest: Path) -> int:
    """Files archived since a snapshot was made (a rename sets `ctime`), back to where they were read from."""
    made = manifest.stat().st_mtime
    back = 0
    archive = inbox / "archive"
    for path in sorted(archive.rglob("*")):
        if path.is_file() and path.stat().st_ctime >= made:
            move_away(path, inbox / path.parent.relative_to(archive))
            back += 1
    return back


def show(result: dict[str, Any]) -> None:
    """For people."""
    console = wide_console()
    console.print(
        f"snapshot {result['snapshot']} is in place; what stood there is in {result['moved_away']}", highlight=False
    )
    if result["passed_over"]:
        console.print(f"newer but not whole, passed over: {', '.join(result['passed_over'])}", highlight=False)
    console.print(f"it stands as of {result['stands_as_of'] or 'before the first hour'}", highlight=False)
    console.print(f"files back in the inbox: {result['files_back_in_the_inbox']}", highlight=False)
    console.print(result["sending"], highlight=False)
    for command in result["closings_lost"]:
        console.print(f"made after it, and lost: {command}", style="bold", highlight=False, soft_wrap=True)
    again = result["read_again"]
    console.print(f"next: {again}" if again else "no hour has to be read again", highlight=False, soft_wrap=True)
