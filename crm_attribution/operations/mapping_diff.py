"""`crm-attribution mapping diff`: what a changed mapping would change, before it is applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crm_attribution import mapping
from crm_attribution.clock import WallClock, iso
from crm_attribution.operations.console import wide_console
from crm_attribution.operations.dry_run import difference
from crm_attribution.orchestration.resources import open_pipeline, run_lock
from crm_attribution.settings import Settings
from crm_attribution.warehouse.state import newest_hour_end


def compare(given: Settings, file: Path) -> dict[str, Any]:
    """Try a mapping file on the warehouse, holding the run lock, and undo it.

    Raises:
        ConfigurationError: the file is wrong, or the warehouse is empty.
    """
    proposed = mapping.load(file)
    pipeline = open_pipeline(given)
    holder = {"run_id": "mapping diff", "command": "crm-attribution mapping diff", "since": iso(WallClock().now())}
    lock = run_lock(given).acquire(given.lock_wait_seconds, holder)
    now = pipeline.clock.now()
    with lock, pipeline.warehouse.session() as session:
        as_of = newest_hour_end(session.state)
        return difference(session, pipeline.ledger, pipeline.rules, proposed, given, as_of, now)


def show(result: dict[str, Any]) -> None:
    """The difference for people."""
    console = wide_console()
    versions = result["mapping_version"]
    console.print(f"mapping version {versions['current']} -> {versions['proposed']}", highlight=False)
    for layer in ("events", "milestones"):
        table = Table("what", "name", "rows", "for example", title=layer)
        for kind in ("gained", "lost", "renamed"):
            for name, found in result[layer][kind].items():
                table.add_row(kind, name, str(found["count"]), found["examples"][0])
        _changed(table, result[layer]["changed"])
        _print(console, table, f"{layer}: no difference")
    table = Table("what", "destination, account and action", "rows", "state", title="conversions")
    for row in result["conversions"]["planned"]:
        state = row["state"] + (f" ({row['reason']})" if row["reason"] else "")
        table.add_row(
            "planned", f"{row['destination']} {row['account']} {row['action']}", str(row["conversions"]), state
        )
    _changed(table, result["conversions"]["changed"])
    _print(console, table, "conversions: no difference")
    for name, why in result["conversions"]["not planned"].items():
        console.print(f"{name}: skipped: {why}", highlight=False)


def _changed(table: Table, changed: dict[str, dict[str, int]]) -> None:
    for name, columns in changed.items():
        for column, count in columns.items():
            table.add_row("changed", name, str(count), column)


def _print(console: Console, table: Table, nothing: str) -> None:
    if table.row_count:
        console.print(table)
    else:
        console.print(nothing)
