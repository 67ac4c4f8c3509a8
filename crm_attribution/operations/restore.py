"""The last good copy of the warehouse put back, and what has to be read again because of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from crm_attribution.clicks.drop_folder import move_away
from crm_attribution.clock import WallClock, iso, parse_instant
from crm_attribution.http.clock import make_clock
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
        chosen = snapshots.put_back(given.data_dir, began, wanted)
        passed = [] if wanted else [name for name in snapshots.names(given.data_dir) if name > chosen.name]
        with open_warehouse(given, 0).session():
            pass  # a snapshot of an earlier release is brought up to this one
        files = _unarchive(given.inbox, given.data_dir / snapshots.FOLDER / chosen.name / snapshots.MANIFEST)
    since = chosen.newest_hour_ends
    last = now.replace(minute=0, second=0, microsecond=0)
    return {
        "snapshot": chosen.name,
        "passed_over": passed,
        "moved_away": str(given.data_dir / snapshots.DAMAGED),
        "stands_as_of": since,
        "read_again": _command(given.start if since is None else parse_instant(since), last),
        "files_back_in_the_inbox": files,
        "sending": _SENT_ONCE,
    }


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
    console = Console(markup=False, emoji=False)
    console.print(
        f"snapshot {result['snapshot']} is in place; what stood there is in {result['moved_away']}", highlight=False
    )
    if result["passed_over"]:
        console.print(f"newer but not whole, passed over: {', '.join(result['passed_over'])}", highlight=False)
    console.print(f"it stands as of {result['stands_as_of'] or 'before the first hour'}", highlight=False)
    console.print(f"files back in the inbox: {result['files_back_in_the_inbox']}", highlight=False)
    console.print(result["sending"], highlight=False)
    again = result["read_again"]
    console.print(f"next: {again}" if again else "no hour has to be read again", highlight=False, soft_wrap=True)
