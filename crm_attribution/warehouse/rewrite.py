"""Rewrite a database file, so that what was deleted from it is gone from the disk.

DuckDB keeps deleted values in the file: neither a checkpoint nor VACUUM takes their bytes out. A copy by
`COPY FROM DATABASE` holds only what is still there: tables with comments and constraints, and sequences where they
stood. The copy is complete and on the disk before it takes the old file's name, so a crash at any moment leaves the
old file or the new one, and at most a leftover that the next opening removes.

https://duckdb.org/docs/stable/sql/statements/copy#copy-from-database--to
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from crm_attribution.errors import ContractViolation, Retryable
from crm_attribution.warehouse.connection import (
    MARTS_STORAGE,
    Warehouse,
    fresh_path,
    remove_leftovers,
    sql_literal,
)
from crm_attribution.warehouse.files import put_in_place
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.session import Session

_NEW = "rewritten"


@dataclass(frozen=True)
class Rewritten:
    """A file before and after.

    Attributes:
        file: its name.
        bytes_before: size when the rewriting began, checkpointed.
        bytes_after: size of the new file.
    """

    file: str
    bytes_before: int
    bytes_after: int


def rewrite_marts(warehouse: Warehouse, *, at: Callable[[str], None] | None = None) -> Rewritten:
    """Rewrite `marts.duckdb` in the storage version older clients can open. See `rewrite_warehouse`."""
    return _rewrite(warehouse, "marts_file", warehouse.marts_path, None, at or _unwatched)


def rewrite_warehouse(
    warehouse: Warehouse, finish: Callable[[Session], None] | None = None, *, at: Callable[[str], None] | None = None
) -> Rewritten:
    """Rewrite `warehouse.duckdb`.

    Args:
        warehouse: without an open session; the caller holds the run lock.
        finish: called with a session on the new file before it takes the old one's place: what it writes is there
            exactly when the rewriting is done.
        at: called with the name of each point at which a crash is tested.

    Raises:
        Retryable: when the file is written meanwhile.
        ContractViolation: when the copy does not hold what the file holds; the file stays as it was.
    """
    return _rewrite(warehouse, "warehouse", warehouse.path, finish, at or _unwatched)


def _unwatched(_: str) -> None:
    pass


def _rewrite(
    warehouse: Warehouse, name: str, path: Path, finish: Callable[[Session], None] | None, at: Callable[[str], None]
) -> Rewritten:
    fresh = fresh_path(path)
    storage = f" (STORAGE_VERSION '{MARTS_STORAGE}')" if name == "marts_file" else ""
    with warehouse.exclusive() as engine:
        remove_leftovers(path)
        try:
            engine.execute(f"CHECKPOINT {name}").fetchall()
        except duckdb.TransactionException as error:
            raise Retryable(f"{path.name} is being written; rewrite it after that run") from error
        before = path.stat().st_size
        try:
            engine.execute(f"ATTACH '{sql_literal(fresh)}' AS {_NEW}{storage}")
            at("attached")
            engine.execute(f"COPY FROM DATABASE {name} TO {_NEW}").fetchall()
            at("copied")
            _compare(engine, name)
            if finish is not None:
                _finish(engine, finish)
            at("finished")
        finally:
            engine.execute(f"DETACH DATABASE IF EXISTS {_NEW}")
        at("closed")
        _refuse_wal(path, fresh)
        _sync(fresh)
        at("synced")
        # The old file is still open and locked here: no process writes to it between the copy and the renaming.
        put_in_place(fresh, path)
        at("renamed")
    return Rewritten(path.name, before, path.stat().st_size)


def _finish(engine: duckdb.DuckDBPyConnection, finish: Callable[[Session], None]) -> None:
    cursor = engine.cursor()
    try:
        cursor.execute(f"SET search_path = '{_NEW}.main'")
        finish(Session(cursor))
    finally:
        cursor.close()


def _compare(engine: duckdb.DuckDBPyConnection, name: str) -> None:
    """Tables, columns, comments and sequences are alike, and every table has as many rows."""
    for what, sql in _STRUCTURE.items():
        old, new = (engine.execute(sql, [database]).fetchall() for database in (name, _NEW))
        if old != new:
            raise ContractViolation(f"the copy of {name} has other {what} than the file; it was not put in place")
    for schema, table in engine.execute(_TABLES, [name]).fetchall():
        (old_rows,), (new_rows,) = engine.execute(
            f"SELECT count(*) FROM {q(name, schema, table)} UNION ALL SELECT count(*) FROM {q(_NEW, schema, table)}"
        ).fetchall()
        if old_rows != new_rows:
            raise ContractViolation(
                f"the copy of {schema}.{table} has {new_rows} rows, the file {old_rows}; it was not put in place"
            )


_TABLES = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND NOT internal ORDER BY 1, 2"
_STRUCTURE = {
    "columns": "SELECT schema_name, table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns()"
    " WHERE database_name = ? AND NOT internal ORDER BY schema_name, table_name, column_index",
    "tables": "SELECT schema_name, table_name, comment FROM duckdb_tables()"
    " WHERE database_name = ? AND NOT internal ORDER BY 1, 2",
    "constraints": "SELECT schema_name, table_name, constraint_type, constraint_text FROM duckdb_constraints()"
    " WHERE database_name = ? ORDER BY ALL",
    "sequences": "SELECT schema_name, sequence_name, last_value FROM duckdb_sequences()"
    " WHERE database_name = ? ORDER BY 1, 2",
}


def _refuse_wal(path: Path, fresh: Path) -> None:
    """A write-ahead log of either file would be replayed into the new one."""
    for file in (path, fresh):
        wal = file.with_name(file.name + ".wal")
        if wal.exists() and wal.stat().st_size:
            raise Retryable(f"{wal.name} holds changes that are not in the file yet; rewrite it after that run")
        wal.unlink(missing_ok=True)


def _sync(fresh: Path) -> None:
    descriptor = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
