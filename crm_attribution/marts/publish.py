"""Publish the marts as a file that anybody may open at any time: `finance.duckdb`.

Readers open the published copy, never the writer's files. A new copy is renamed over the old one, so an open reader
keeps its snapshot and the next one to open sees the new. The copy is of one moment: nothing is written to the marts
file between its checkpoint and the end of the copy, which is checked, not assumed.

The manifest `finance.manifest.json` is written after the file, the snapshot in `finance/` with Parquet copies after it
(`marts/copies.py`). A crash in between leaves a manifest that does not match, or no copies; the next publication sees
that and publishes again, or makes them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb

from crm_attribution.clock import iso
from crm_attribution.errors import ConfigurationError, ContractViolation, Retryable, Terminal
from crm_attribution.marts.about import ABOUT, DICTIONARY, Origin, write_about, write_dictionary
from crm_attribution.marts.copies import keep_copies
from crm_attribution.marts.manifest import Manifest, manifest_path, read_manifest, temporary_path, write_manifest
from crm_attribution.marts.models import SqlTest, TestResult, run_tests
from crm_attribution.warehouse.engine import open_reader
from crm_attribution.warehouse.files import copy_file, put_in_place, read_storage_version
from crm_attribution.warehouse.identifiers import quote_identifier
from crm_attribution.warehouse.lock import process_alive

__all__ = ["Manifest", "Publication", "manifest_path", "publish", "read_manifest", "read_storage_version"]

SCHEMA = "marts"
STORAGE_VERSION_1_0 = 64  # DuckDB's number for files that 1.0 and every later client can read


@dataclass(frozen=True)
class Publication:
    """What one call of `publish` did and why. `bytes` and `rows` are those of the current file."""

    published: bool
    reason: str
    snapshot_id: str
    rows: Mapping[str, int]
    bytes: int
    tests: int
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Content:
    """What the marts hold, independent of how the file stores it."""

    snapshot_id: str
    rows: dict[str, int]
    tables: dict[str, str]


def publish(
    connection: duckdb.DuckDBPyConnection,
    *,
    marts_path: Path,
    target: Path,
    as_of: datetime,
    tests: Sequence[SqlTest],
    now: datetime,
    of: Origin | None = None,
    days: int = 0,
    rewrite: bool = False,
    mode: int = 0o400,
    known: Collection[str] | None = None,
) -> Publication:
    """Run the data tests and, where the marts changed, replace `target` by a copy of the marts file.

    The caller holds the run lock; `connection` has the marts file attached and is outside a transaction.

    Args:
        as_of: the end of the newest hour the marts contain; kept up to date in the manifest also when they did not
            change.
        tests: every data test of the marts.
        now: for the manifest.
        of: where the figures come from, for `marts.about`.
        days: for which the newest published file of each day is kept in `finance/`.
        rewrite: publish although nothing changed, because the current file holds bytes of deleted rows; of the files
            kept none stays.
        known: names of the marts there are: any other table is dropped, as one of a mart that is gone or made by hand.
        mode: of the published file; without a write bit, so that no reader opens it for writing by mistake.

    Raises:
        Terminal: when a data test fails, or a `.wal` file of the target shows that it is being written. The published
            file stays as it was.
        Retryable: when the marts are being written meanwhile.
    """
    alias = _alias(connection, marts_path)
    _refuse_wal(target)
    _clean_up(target)
    _checkpoint(connection, alias, marts_path)
    _run_tests(connection, tests)
    _check_marts_only(connection, alias)
    dropped = () if known is None else _drop_others(connection, alias, {*known, ABOUT, DICTIONARY})
    write_dictionary(connection, alias)
    content = _content(connection, alias, of or Origin())
    old = read_manifest(target)
    reason = "something was erased" if rewrite else _why(old, target, content)
    if reason is None and old is not None:
        target.chmod(mode)
        manifest = replace(old, as_of=iso(as_of))
        if old != manifest:
            write_manifest(target, manifest)
        manifest_path(target).chmod(mode | 0o200)
    else:
        write_about(connection, alias, of or Origin(), as_of, content.snapshot_id)
        stamp = _checkpoint(connection, alias, marts_path)
        manifest = _replace_file(marts_path, target, stamp, content, as_of, now, mode)
    keep_copies(target, manifest, now=now, days=days, mode=mode, erased=rewrite)
    why = reason or "the marts have not changed"
    return Publication(
        reason is not None, why, manifest.snapshot_id, manifest.rows, manifest.bytes, len(tests), dropped
    )


def _replace_file(
    marts_path: Path,
    target: Path,
    stamp: tuple[int, int, int],
    content: _Content,
    as_of: datetime,
    now: datetime,
    mode: int,
) -> Manifest:
    """Copy, check, rename, and write the manifest."""
    temporary = temporary_path(target)
    try:
        sha256 = copy_file(marts_path, temporary)
        if _stamp(marts_path) != stamp:
            raise Retryable(f"{marts_path} was written while it was copied; publish again after that run")
        _check_copy(temporary, content)
        temporary.chmod(mode)
        state = temporary.stat()
        _refuse_wal(target)
        put_in_place(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    manifest = Manifest(
        file=target.name,
        snapshot_id=content.snapshot_id,
        as_of=iso(as_of),
        published_at=iso(now),
        bytes=state.st_size,
        sha256=sha256,
        storage_version=STORAGE_VERSION_1_0,
        modified_ns=state.st_mtime_ns,
        rows=content.rows,
        tables=content.tables,
    )
    write_manifest(target, manifest)
    manifest_path(target).chmod(mode | 0o200)
    return manifest


def _alias(connection: duckdb.DuckDBPyConnection, marts_path: Path) -> str:
    wanted = marts_path.resolve()
    databases = connection.execute("SELECT database_name, path FROM duckdb_databases() WHERE NOT internal").fetchall()
    for name, path in databases:
        if path is not None and Path(path).resolve() == wanted:
            return str(name)
    raise ConfigurationError(f"{marts_path} is not attached to this connection; open the warehouse with its marts")


def _checkpoint(connection: duckdb.DuckDBPyConnection, alias: str, marts_path: Path) -> tuple[int, int, int]:
    """Bring everything committed into the file itself and return the file's stamp at that moment."""
    try:
        connection.execute(f"CHECKPOINT {quote_identifier(alias)}").fetchall()
    except duckdb.TransactionException as error:
        raise Retryable(f"{marts_path} is being written ({error}); publish again after that run") from error
    return _stamp(marts_path)


def _stamp(marts_path: Path) -> tuple[int, int, int]:
    """Changes with every write to the file; `stat` opens nothing, so no lock is lost."""
    wal = marts_path.with_name(marts_path.name + ".wal")
    if wal.exists() and wal.stat().st_size:
        raise Retryable(f"{wal} holds changes that are not in the file yet; publish again after that run")
    state = marts_path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _run_tests(connection: duckdb.DuckDBPyConnection, tests: Sequence[SqlTest]) -> None:
    broken = []
    for result in run_tests(connection, tests):
        if not result.passed:
            test = result.test
            broken.append(f"{test.model} {test.name} ({result.bad_rows} bad rows; {test.path}{_deals(result)})")
    if broken:
        raise Terminal(
            f"not published, the last published file stays: {len(broken)} of {len(tests)} data tests fail:"
            f" {'; '.join(broken)}. Run the named query to see the rows, correct their cause and publish again"
        )


def _deals(result: TestResult) -> str:
    """The deals of the first bad rows, where the test tells them."""
    named = {str(deal) for row in result.sample for deal in (row.get("deal_id"), row.get("milestone_id")) if deal}
    return f"; of {', '.join(sorted(named)[:5])}" if named else ""


def _drop_others(connection: duckdb.DuckDBPyConnection, alias: str, known: Collection[str]) -> tuple[str, ...]:
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = $1 AND schema_name = $2 ORDER BY 1",
        [alias, SCHEMA],
    ).fetchall()
    others = tuple(name for (name,) in found if name not in known)
    for name in others:
        connection.execute(f"DROP TABLE {quote_identifier(alias, SCHEMA, name)}")
    return others


def _check_marts_only(connection: duckdb.DuckDBPyConnection, alias: str) -> None:
    """The copy shows everything that is in the file, so the file may hold nothing but tables of `marts`."""
    strangers = connection.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = $1 AND schema_name <> $2"
        " UNION ALL SELECT 'view ' || schema_name || '.' || view_name FROM duckdb_views()"
        " WHERE database_name = $1 AND NOT internal"
        " UNION ALL SELECT DISTINCT 'macro ' || schema_name || '.' || function_name FROM duckdb_functions()"
        " WHERE database_name = $1 AND NOT internal ORDER BY 1",
        [alias, SCHEMA],
    ).fetchall()
    if strangers:
        names = ", ".join(name for (name,) in strangers)
        raise ContractViolation(
            f"the marts file holds more than tables of {SCHEMA}: {names}; drop them and publish again"
        )


def _content(connection: duckdb.DuckDBPyConnection, alias: str, of: Origin) -> _Content:
    """Row counts, and an id that is the same exactly when tables, columns, comments, rows and origin are the same. What
    `marts.about` says of the snapshot itself is left out.

    A row's hash is hashed once more before summing: the first one combines columns by XOR, so that two rows which
    exchange a value would cancel out.
    """
    tables: dict[str, list[object]] = {}
    described = connection.execute(
        "SELECT t.table_name, t.comment, c.column_name, c.data_type, c.comment, c.is_nullable"
        " FROM duckdb_tables() t JOIN duckdb_columns() c USING (database_name, schema_name, table_name)"
        " WHERE database_name = $1 AND schema_name = $2 ORDER BY t.table_name, c.column_index",
        [alias, SCHEMA],
    ).fetchall()
    for table, comment, *column in described:
        tables.setdefault(table, [comment]).append(column)
    rows: dict[str, int] = {}
    for table, description in tables.items():
        if table == ABOUT:
            rows[f"{SCHEMA}.{table}"] = 1
            description.append(asdict(of))
            continue
        columns = ", ".join(quote_identifier(str(column[0])) for column in description[1:] if isinstance(column, list))
        ((count, total, other),) = connection.execute(
            "SELECT count(*), sum(hash(row_hash))::VARCHAR, bit_xor(hash(row_hash, 1))::VARCHAR"
            f" FROM (SELECT hash({columns}) AS row_hash FROM {quote_identifier(alias, SCHEMA, table)})"
        ).fetchall()
        rows[f"{SCHEMA}.{table}"] = count
        description.extend((count, total, other))
    snapshot_id = _fingerprint(tables)
    parts = {f"{SCHEMA}.{table}": _fingerprint(description) for table, description in tables.items()}
    parts[f"{SCHEMA}.{ABOUT}"] = snapshot_id
    return _Content(snapshot_id, rows, parts)


def _fingerprint(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _why(old: Manifest | None, target: Path, content: _Content) -> str | None:
    """The reason to publish, or None when the current file already has this content."""
    if not target.exists():
        return "there is no published file"
    if old is None:
        return "there is no manifest"
    if old.snapshot_id != content.snapshot_id:
        return "the marts have changed"
    state = target.stat()
    if (state.st_size, state.st_mtime_ns) != (old.bytes, old.modified_ns):
        return "the published file is not the one of the manifest"
    return None


def _refuse_wal(target: Path) -> None:
    wal = target.with_name(target.name + ".wal")
    if wal.exists():
        raise Terminal(
            f"{wal} shows that {target.name} was opened for writing; its changes would be replayed into the next"
            " copy. Close that session, delete the .wal file, open the file with read_only=True, and publish again"
        )


def _clean_up(target: Path) -> None:
    """Remove what publications that died have left: their files carry the number of their process."""
    for pattern in (f".{target.name}.*.tmp", f".{manifest_path(target).name}.*.tmp"):
        for leftover in target.parent.glob(pattern):
            pid = leftover.name.split(".")[-2]
            if not pid.isdigit() or int(pid) == os.getpid() or not process_alive(int(pid), None):
                leftover.unlink(missing_ok=True)


def _check_copy(copy: Path, content: _Content) -> None:
    """Open the copy as a reader will and compare what it holds."""
    version = read_storage_version(copy)
    if version != STORAGE_VERSION_1_0:
        raise ConfigurationError(
            f"the marts file has storage version {version}, which older DuckDB clients cannot open; create it with"
            " ATTACH … (STORAGE_VERSION 'v1.0.0')"
        )
    with open_reader(copy) as reader:
        for table, rows in content.rows.items():
            name = quote_identifier(*table.split(".", 1))
            ((found,),) = reader.execute(f"SELECT count(*) FROM {name}").fetchall()
            if found != rows:
                raise Terminal(f"the copy of {table} holds {found} rows instead of {rows}; not published")
