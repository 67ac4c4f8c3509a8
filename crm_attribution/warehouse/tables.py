"""Writing one table: only what differs, and what changed is journalled as the contract says.

Writers return the keys of the rows that really changed, so that what follows touches only those.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime

import polars as pl

from crm_attribution.contracts import CONTRACTS, Contract
from crm_attribution.warehouse.changes import Journal
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.sql import Sql
from crm_attribution.warehouse.versions import told

RECORDED = ("recorded_at", "superseded_at")
"""The columns by which a bitemporal table says since and until when it was known."""

_WIDE = 6
"""Columns from which on reading a table's keys first costs less than reading it once."""


class Table:
    """One table (`schema.table`). Made by `Session[name]`."""

    def __init__(self, sql: Sql, journal: Journal, name: str) -> None:
        self._sql, self._journal, self.name = sql, journal, name
        self._target = table_name(name)

    @property
    def contract(self) -> Contract:
        return CONTRACTS[self.name]

    def upsert(self, frame: pl.DataFrame, *, newer: str | None = None) -> pl.DataFrame:
        """Insert new rows and replace changed ones by key; with `newer`, never by an older row.

        Returns:
            The key columns of the rows that were written.
        """
        contract = self.contract
        frame = contract.validate(contract.conform(frame))
        if frame.is_empty():
            return frame.select(contract.key)
        guard = f" AND n.{q(newer)} >= t.{q(newer)}" if newer else ""
        match = _match(contract.key, "n", "t")
        self._sql.materialise("_new", frame)
        self._sql.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _write AS SELECT n.* FROM _new n LEFT JOIN {self._target} t ON {match}"
            f" WHERE t.{q(contract.key[0])} IS NULL OR (({_differs(contract, 'n', 't')}){guard})"
        )
        return self._replace_rows(contract, "_write")

    def append(self, frame: pl.DataFrame, *, identity: Sequence[str] | None = None) -> pl.DataFrame:
        """Insert the rows whose identity (by default the key) is not there yet; touch nothing else."""
        contract = self.contract
        frame = contract.validate(contract.conform(frame))
        columns = list(identity or contract.key)
        if frame.is_empty():
            return frame.select(contract.key)
        self._sql.materialise("_new", frame.unique(columns, keep="first", maintain_order=True))
        match = " AND ".join(f"n.{q(c)} IS NOT DISTINCT FROM t.{q(c)}" for c in columns)
        self._sql.connection.execute(
            "CREATE OR REPLACE TEMP TABLE _write AS SELECT n.* FROM _new n WHERE NOT EXISTS"
            f" (SELECT 1 FROM {self._target} t WHERE {match})"
        )
        with self._told():
            self._insert("_write")
            self._journal_source(contract, "_write")
        return self._drop("_write", contract)

    def append_new(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Insert rows whose keys the caller knows to be new; nothing is looked up or journalled. Returns them."""
        contract = self.contract
        frame = contract.validate(contract.conform(frame))
        if frame.height:
            with self._sql.registered({"_frame": frame}):
                self._insert("_frame")
        return frame

    def append_told(self, frame: pl.DataFrame) -> pl.DataFrame:
        """As `append_new`, and journalled."""
        with self._told():
            frame = self.append_new(frame)
            if frame.height:
                self._journal.add_rows(self.contract, "SELECT * FROM _changed", frame)
        return frame

    def replace(self, frame: pl.DataFrame, scope: pl.DataFrame | None) -> pl.DataFrame:
        """Make the rows of a scope equal to `frame`; only differing rows are deleted or inserted.

        Args:
            frame: all rows that the scope shall have.
            scope: values of some columns; rows matching any of them are in scope. None: the whole table.

        Returns:
            Every row that went and every row that came, with `_came` telling which.
        """
        contract = self.contract
        frame = contract.validate(contract.conform(frame))
        target = self._target
        columns = ", ".join(q(column.name) for column in contract.columns)
        compared = ", ".join(q(column) for column in contract.compared)
        self._sql.materialise("_new", frame)
        if scope is None:
            restriction = ""
        else:
            self._sql.materialise("_scope", scope.unique())
            restriction = f" WHERE {places(self.name, scope, '_scope', len(contract.columns))}"
        self._sql.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _old AS SELECT t.rowid AS _place, {columns} FROM {target} t{restriction}"
        )
        self._sql.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _gone AS SELECT * FROM _old SEMI JOIN"
            f" (SELECT {compared} FROM _old EXCEPT SELECT {compared} FROM _new) d"
            f" ON {self._same(contract, '_old', 'd')}"
        )
        self._sql.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _came AS SELECT * FROM _new SEMI JOIN"
            f" (SELECT {compared} FROM _new EXCEPT SELECT {compared} FROM _old) d"
            f" ON {self._same(contract, '_new', 'd')}"
        )
        with self._told():
            self._sql.connection.execute(f"DELETE FROM {target} WHERE rowid IN (SELECT _place FROM _gone)")
            self._insert("_came")
        changed = self._sql.query(
            "SELECT * EXCLUDE (_place), false AS _came FROM _gone UNION ALL BY NAME SELECT *, true AS _came FROM _came"
        )
        for temporary in ("_new", "_old", "_gone", "_came", "_scope"):
            self._sql.connection.execute(f"DROP TABLE IF EXISTS temp.{temporary}")
        if changed.height:
            self._journal.add_rows(contract, "SELECT * FROM _changed", changed)
        return changed

    def record(self, rows: pl.DataFrame, scope: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """Make what a bitemporal table holds of a scope, as of `now`, equal to `rows` (without the two times).

        Args:
            rows: all rows that the scope shall have.
            scope: values of some columns; rows matching any of them are in scope.
            now: when it is known.

        Returns:
            Every row that is closed and every row that is opened, without the two times.
        """
        contract = self.contract
        names = [column.name for column in contract.columns]
        identity = [name for name in names if name not in RECORDED]
        wanted = contract.conform(rows).select(identity)
        self._sql.materialise("_scope", scope.unique())
        held = contract.conform(
            self._sql.query(
                f"SELECT {', '.join(f't.{q(name)}' for name in names)} FROM {self._target} t"
                f" WHERE t.superseded_at IS NULL AND {places(self.name, scope, '_scope', len(names))}"
            )
        )
        self._sql.connection.execute("DROP TABLE temp._scope")
        stale = held.join(wanted, on=identity, how="anti", nulls_equal=True)
        new = wanted.join(held, on=identity, how="anti", nulls_equal=True)
        times = {"recorded_at": pl.lit(now), "superseded_at": pl.lit(None, pl.Datetime("us", "UTC"))}
        self.supersede(stale, new.with_columns(**times), now)
        return pl.concat([stale.select(identity), new])

    def supersede(self, stale: pl.DataFrame, new: pl.DataFrame, now: datetime) -> None:
        """Close rows of this table, which has recorded_at and superseded_at, and open others, both at `now`.

        A row recorded at `now` itself never was knowledge: it is removed instead of closed.
        """
        contract = self.contract
        with self._told():
            self._close(stale, now)
            self.append_new(new)
        if contract.journal and stale.height + new.height:
            keys = [column for entry in contract.journal for column in entry.key_sql]
            changed = pl.concat([frame.select(keys) for frame in (stale, new)]).unique()
            self._journal.add_rows(contract, "SELECT * FROM _changed", changed)

    def _close(self, stale: pl.DataFrame, now: datetime) -> None:
        if stale.is_empty():
            return
        contract, target = self.contract, self._target
        self._sql.materialise("_stale", contract.conform(stale))
        match = _match(contract.key, "t", "s")
        self._sql.connection.execute(
            f"DELETE FROM {target} t USING _stale s WHERE {match} AND t.recorded_at >= ?", [now]
        )
        self._sql.connection.execute(
            f"UPDATE {target} t SET superseded_at = ? FROM _stale s WHERE {match} AND t.superseded_at IS NULL",
            [now],
        )
        self._sql.connection.execute("DROP TABLE temp._stale")

    def delete(self, keys: pl.DataFrame) -> int:
        """Delete the rows whose columns equal any row of `keys`. Returns how many."""
        if keys.is_empty():
            return 0
        match = _match(keys.columns, "t", "k")
        contract = CONTRACTS.get(self.name)
        with self._sql.registered({"_keys": keys.unique()}):
            if contract is not None and contract.journal:
                self._journal.add_rows(contract, f"SELECT t.* FROM {self._target} t SEMI JOIN _keys k ON {match}")
            with told(self._sql.connection, self.name, contract is not None and bool(contract.journal)):
                sql = f"DELETE FROM {self._target} t USING _keys k WHERE {match}"
                done = self._sql.connection.execute(sql).fetchall()
        return int(done[0][0])

    def rename(self, column: str, names: pl.DataFrame) -> int:
        """Replace the values of `column` by `name`, as paired in `names` (column, name). Returns the rows changed."""
        if names.is_empty():
            return 0
        renamed = f"{q(column)} = n.name FROM _names n WHERE t.{q(column)} = n.{q(column)}"
        with self._sql.registered({"_names": names}):
            done = self._sql.connection.execute(f"UPDATE {self._target} t SET {renamed}").fetchall()
        return int(done[0][0])

    def _insert(self, source: str) -> None:
        near = ", ".join(q(column) for column in self.contract.near)
        ordered = f" ORDER BY {near}" if near else ""
        self._sql.connection.execute(f"INSERT INTO {self._target} BY NAME FROM {source}{ordered}")

    def _replace_rows(self, contract: Contract, source: str) -> pl.DataFrame:
        target = self._target
        match = _match(contract.key, "t", "n")
        before = f" UNION ALL BY NAME SELECT t.* FROM {target} t SEMI JOIN {source} n ON {match}"
        keyed = all(key in contract.key for entry in contract.journal for key in entry.key_sql)
        with self._told():
            self._journal_source(contract, source, "" if keyed else before)
            self._sql.connection.execute(f"DELETE FROM {target} t USING {source} n WHERE {match}")
            self._insert(source)
        return self._drop(source, contract)

    def _told(self) -> AbstractContextManager[None]:
        """Around a change whose keys are journalled."""
        return told(self._sql.connection, self.name, bool(self.contract.journal))

    def _journal_source(self, contract: Contract, source: str, more: str = "") -> None:
        if contract.journal and self._sql.scalar(f"SELECT count(*) FROM {source}"):
            self._journal.add_rows(contract, f"SELECT * FROM {source}{more}")

    def _drop(self, source: str, contract: Contract) -> pl.DataFrame:
        keys = ", ".join(q(column) for column in contract.key)
        written = self._sql.query(f"SELECT {keys} FROM {source}")
        self._sql.connection.execute(f"DROP TABLE temp.{source}")
        self._sql.connection.execute("DROP TABLE IF EXISTS temp._new")
        return written

    @staticmethod
    def _same(contract: Contract, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{q(c)} IS NOT DISTINCT FROM {right}.{q(c)}" for c in contract.compared)


def places(name: str, keys: pl.DataFrame, given: str, width: int) -> str:
    """The condition that a row of `t` matches a row of the keys. Where many columns are read it is found by the key
    columns alone, and the other columns are read only where there is a match."""
    match = " AND ".join(f"t.{q(column)} = k.{q(column)}" for column in keys.columns)
    using = ", ".join(q(column) for column in keys.columns)
    if width < _WIDE:
        return f"EXISTS (SELECT 1 FROM {given} k WHERE {match})"
    return f"t.rowid IN (SELECT k.rowid FROM {table_name(name)} k SEMI JOIN {given} USING ({using}))"


def _match(columns: Sequence[str], left: str, right: str) -> str:
    return " AND ".join(f"{left}.{q(column)} = {right}.{q(column)}" for column in columns)


def _differs(contract: Contract, left: str, right: str) -> str:
    rest = [column for column in contract.compared if column not in contract.key]
    return " OR ".join(f"{left}.{q(c)}::VARCHAR IS DISTINCT FROM {right}.{q(c)}::VARCHAR" for c in rest) or "false"
