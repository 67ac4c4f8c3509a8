"""Whether somebody else has written the files since we let them go.

`warehouse.stamp` beside them has their sizes and modification times as of the last time this product closed them. Where
they differ, what is remembered of their rows (`meta.model`: which models and tests still hold) is forgotten, so a row
changed by hand is tested before it is published. A crash or a restored file looks the same and costs one full run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import duckdb

STAMP = "warehouse.stamp"


def note(files: Sequence[Path]) -> None:
    """Say what the files are now that they are closed."""
    target = files[0].with_name(STAMP)
    temporary = target.with_name(f".{STAMP}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(_stamps(files)), encoding="utf-8")
        os.replace(temporary, target)
    except OSError:
        # A full or read-only disk: without a stamp everything is tested the next time, which is the safe side.
        temporary.unlink(missing_ok=True)


def take_over(engine: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> bool:
    """Forget what is remembered where the files, now attached, are not what was noted. Whether they are.

    Args:
        engine: has the first of the files attached as `warehouse`.
        files: as for `note`.
    """
    try:
        noted = json.loads(files[0].with_name(STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        noted = None
    if noted == _stamps(files):
        return True
    known = "SELECT 1 FROM duckdb_tables() WHERE database_name = 'warehouse' AND schema_name = 'meta'"
    if engine.execute(f"{known} AND table_name = 'model'").fetchone():
        engine.execute("DELETE FROM warehouse.meta.model")
    return False


def _stamps(files: Sequence[Path]) -> list[list[int]]:
    """Size and modification time; none for a file that is not there, or still has a log to be applied."""
    found = []
    for file in files:
        log = file.with_name(f"{file.name}.wal")
        state = file.stat() if file.exists() and not log.exists() else None
        found.append([state.st_size, state.st_mtime_ns] if state else [])
    return found
