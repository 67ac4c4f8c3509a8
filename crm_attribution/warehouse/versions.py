"""How often each table of the warehouse has changed, counted in the transaction of the change.

So whoever made something of some tables can tell later, also after a crash or a restored snapshot, whether they are
still what they were. Every statement of a session passes here: no writer can forget to count.

A change whose keys the journal does not tell (`told`) is counted once more, under the table's `UNTOLD` name: whoever
follows the journal learns of it by that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import duckdb

_NAME = r'(?P<name>(?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+)){1,2})'
_ROWS = re.compile(rf"\s*(?:INSERT (?:OR \w+ )?INTO|DELETE FROM|UPDATE|MERGE INTO)\s+{_NAME}", re.I)
_TABLE = re.compile(
    rf"\s*(?:ALTER TABLE|TRUNCATE(?: TABLE)?|DROP (?:TABLE|VIEW)|CREATE (?:OR REPLACE )?(?:TABLE|VIEW))\s+"
    rf"(?:IF (?:NOT )?EXISTS )?{_NAME}",
    re.I,
)
_NOT_COUNTED = {"temp", "meta", "marts", "marts_file", "part"}
"""Schemas and databases. The marts are another file, and a transaction writes one: who writes them counts before it.
`part` holds copies (`marts/part.py`)."""
UNTOLD = "untold "
"""Before a table's name: its changes of which the journal tells no keys."""


class Watched:
    """A connection that counts which tables its statements change. It takes transactions by their statements."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._within = False
        self._changed: set[str] = set()
        self._untold: set[str] = set()
        self.telling: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: str, parameters: object = None) -> Any:
        word = query.strip().upper() if len(query) < 20 else ""
        if word in ("BEGIN", "ROLLBACK"):
            done = self._connection.execute(query)
            self._within = word == "BEGIN"
            self._changed.clear()
            self._untold.clear()
            return done
        if word == "COMMIT":
            return self._commit()
        rows, table = _target(_ROWS, query), _target(_TABLE, query)
        if rows is None and table is None:
            return self._connection.execute(query, parameters)
        if self._within:
            return self._counted(query, parameters, rows, table)
        self.execute("BEGIN")
        try:
            done = self._counted(query, parameters, rows, table)
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self._commit()
        return done

    def _counted(self, query: str, parameters: object, rows: str | None, table: str | None) -> Any:
        done = self._connection.execute(query, parameters)
        if table is not None:
            self._note(table)
            return done
        found = _Found(done.fetchall())
        if rows is not None and found.rows and found.rows[0][0]:
            self._note(rows)
        return found

    def _note(self, table: str) -> None:
        self._changed.add(table)
        if table != self.telling:
            self._untold.add(f"{UNTOLD}{table}")

    def _commit(self) -> Any:
        changed = self._changed | self._untold
        self._changed, self._untold, self._within = set(), set(), False
        try:
            if changed:
                count_change(self._connection, changed)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return self._connection.execute("COMMIT")


class _Found:
    """How many rows a statement changed, for whoever asks for it."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def fetchall(self) -> list[Any]:
        return self.rows

    def fetchone(self) -> Any:
        return self.rows[0] if self.rows else None


def _target(pattern: re.Pattern[str], query: str) -> str | None:
    found = pattern.match(query)
    if found is None:
        return None
    parts = [part.strip('"') for part in found["name"].split(".")]
    return None if _NOT_COUNTED & set(parts[:-1]) else ".".join(parts[-2:])


def watched(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The connection with its changes counted."""
    return connection if isinstance(connection, Watched) else cast("duckdb.DuckDBPyConnection", Watched(connection))


@contextmanager
def told(connection: duckdb.DuckDBPyConnection, table: str, journalled: bool) -> Iterator[None]:
    """What is written to the table within is told by the journal, key by key."""
    if not journalled or not isinstance(connection, Watched):
        yield
        return
    before, connection.telling = connection.telling, table
    try:
        yield
    finally:
        connection.telling = before


def count_change(connection: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> None:
    """Say that tables (`schema.table`) changed, or are about to."""
    connection.execute(
        "MERGE INTO meta.version v USING (SELECT unnest(?) AS name) n ON v.name = n.name"
        " WHEN MATCHED THEN UPDATE SET version = v.version + 1 WHEN NOT MATCHED THEN INSERT VALUES (n.name, 1)",
        [sorted(tables)],
    ).fetchall()


def versions(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Table -> how often it has changed; one that is not there has not. Likewise under its `UNTOLD` name."""
    return dict(connection.execute("SELECT name, version FROM meta.version").fetchall())
