"""Reading and writing tables within one connection.

Writers return the keys of the rows that really changed, so that what follows touches only those. Changes are
journalled by topic; a consumer reads the journal from its cursor and moves the cursor in the transaction that
writes its result. Nothing here depends on partitions: any order or repetition of runs sees each change once.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from crm_attribution.contracts import CONTRACTS, Contract
from crm_attribution.contracts.topics import Topic
from crm_attribution.errors import CommitLost
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.state import State

_WIDE = 10
"""Columns from which on reading a table's keys first costs less than reading it once."""


NOT_KEPT = "a commit returned without an error and kept nothing: nothing of this step is stored; run it again"


@dataclass(frozen=True)
class Changes:
    """What a consumer has not yet seen.

    Attributes:
        everything: no cursor yet (first run, rebuild): treat every key as changed.
        keys: changed keys by topic, sorted.
        upto: the cursor to store with the result.
        signature: fingerprint of the rules the result was made with.
    """

    everything: bool
    keys: Mapping[str, list[list[str]]]
    upto: int
    signature: str = ""

    def of(self, *topics: str) -> list[str]:
        """Keys of topics whose keys are one value."""
        return sorted({key[0] for topic in topics for key in self.keys.get(topic, [])})

    def frame(self, *topics: Topic) -> pl.DataFrame:
        """Keys of topics with the same columns, a String column per value of a key."""
        columns = topics[0].columns
        rows = sorted({tuple(key) for topic in topics for key in self.keys.get(topic, [])})
        return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")

    def ids(self, *topics: str) -> list[int]:
        """Changed keys that are record ids."""
        return sorted(map(int, self.of(*topics)))

    @property
    def idle(self) -> bool:
        return not self.everything and not any(self.keys.values())


class Session:
    """One open connection. Made by `Warehouse.session`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.state = State(connection)
        self._dry_run = False

    # --- reading

    def query(self, sql: str, parameters: Sequence[object] | None = None, **frames: pl.DataFrame) -> pl.DataFrame:
        """Run a SELECT; `frames` are visible as views of their names."""
        with self._registered(frames):
            relation = self.connection.sql(sql, params=list(parameters) if parameters else None)
            frame: pl.DataFrame = relation.pl()
            return frame

    def read(self, name: str, where: str = "", parameters: Sequence[object] | None = None) -> pl.DataFrame:
        """A contract's table, in the contract's column order and types."""
        contract = CONTRACTS[name]
        columns = ", ".join(q(column.name) for column in contract.columns)
        clause = f" WHERE {where}" if where else ""
        return contract.conform(self.query(f"SELECT {columns} FROM {table_name(name)}{clause}", parameters))

    def read_keys(self, name: str, keys: pl.DataFrame, columns: Sequence[str] = ()) -> pl.DataFrame:
        """The rows of a table whose columns match any row of `keys` (a semi join on its column names).

        With `columns` only these are read, which costs less.
        """
        contract = CONTRACTS[name]
        names = columns or [column.name for column in contract.columns]
        listed = ", ".join(f"t.{q(column)}" for column in names)
        places = _places(name, keys, "_keys", len(names))
        found = self.query(f"SELECT {listed} FROM {table_name(name)} t WHERE {places}", _keys=keys)
        return contract.conform(found).select(names)

    def scalar(self, sql: str, parameters: Sequence[object] | None = None) -> Any:
        rows = self.connection.execute(sql, list(parameters) if parameters else None).fetchall()
        return rows[0][0] if rows else None

    # --- writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Roll back on any error and raise it. Within a dry run it is a part of that.

        Raises:
            CommitLost: when the commit returned without an error and kept nothing, as DuckDB 2 does where an error
                inside the transaction was swallowed.
        """
        if self._dry_run:
            yield
            return
        marker = secrets.randbits(62)
        self.connection.execute("BEGIN")
        try:
            yield
            self.connection.execute("UPDATE meta.commit_marker SET marker = ?", [marker])
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        if self.scalar("SELECT marker FROM meta.commit_marker") != marker:
            raise CommitLost(NOT_KEPT)

    @contextmanager
    def dry_run(self) -> Iterator[None]:
        """A transaction that is rolled back at the end, with all transactions in it: to see what would be."""
        self.connection.execute("BEGIN")
        self._dry_run = True
        try:
            yield
        finally:
            self._dry_run = False
            self.connection.execute("ROLLBACK")

    def upsert(self, name: str, frame: pl.DataFrame, *, newer: str | None = None) -> pl.DataFrame:
        """Insert new rows and replace changed ones by key; with `newer`, never by an older row.

        Returns:
            The key columns of the rows that were written.
        """
        contract = CONTRACTS[name]
        frame = contract.validate(contract.conform(frame))
        if frame.is_empty():
            return frame.select(contract.key)
        guard = f" AND n.{q(newer)} >= t.{q(newer)}" if newer else ""
        match = _match(contract.key, "n", "t")
        self._materialise("_new", frame)
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _write AS SELECT n.* FROM _new n LEFT JOIN {table_name(name)} t ON {match}"
            f" WHERE t.{q(contract.key[0])} IS NULL OR (({_differs(contract, 'n', 't')}){guard})"
        )
        return self._replace_rows(contract, "_write")

    def append(self, name: str, frame: pl.DataFrame, *, identity: Sequence[str] | None = None) -> pl.DataFrame:
        """Insert the rows whose identity (by default the key) is not there yet; touch nothing else."""
        contract = CONTRACTS[name]
        frame = contract.validate(contract.conform(frame))
        columns = list(identity or contract.key)
        if frame.is_empty():
            return frame.select(contract.key)
        self._materialise("_new", frame.unique(columns, keep="first", maintain_order=True))
        match = " AND ".join(f"n.{q(c)} IS NOT DISTINCT FROM t.{q(c)}" for c in columns)
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE _write AS SELECT n.* FROM _new n WHERE NOT EXISTS"
            f" (SELECT 1 FROM {table_name(name)} t WHERE {match})"
        )
        self.connection.execute(f"INSERT INTO {table_name(name)} BY NAME FROM _write")
        self._journal_source(contract, "_write")
        return self._drop("_write", contract)

    def append_new(self, name: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Insert rows whose keys the caller knows to be new; nothing is looked up or journalled. Returns them."""
        contract = CONTRACTS[name]
        frame = contract.validate(contract.conform(frame))
        if frame.height:
            self.change(f"INSERT INTO {table_name(name)} BY NAME FROM _frame", _frame=frame)
        return frame

    def change(self, sql: str, **frames: pl.DataFrame) -> None:
        """Run a statement that writes; `frames` are visible as views of their names."""
        with self._registered(frames):
            self.connection.execute(sql)

    def replace(self, name: str, frame: pl.DataFrame, scope: pl.DataFrame | None) -> pl.DataFrame:
        """Make the rows of a scope equal to `frame`; only differing rows are deleted or inserted.

        Args:
            name: the table.
            frame: all rows that the scope shall have.
            scope: values of some columns; rows matching any of them are in scope. None: the whole table.

        Returns:
            Every row that went and every row that came, with `_came` telling which.
        """
        contract = CONTRACTS[name]
        frame = contract.validate(contract.conform(frame))
        target = table_name(name)
        columns = ", ".join(q(column.name) for column in contract.columns)
        compared = ", ".join(q(column) for column in contract.compared)
        self._materialise("_new", frame)
        if scope is None:
            restriction = ""
        else:
            self._materialise("_scope", scope.unique())
            restriction = f" WHERE {_places(name, scope, '_scope', len(contract.columns))}"
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _old AS SELECT t.rowid AS _place, {columns} FROM {target} t{restriction}"
        )
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _gone AS SELECT * FROM _old SEMI JOIN"
            f" (SELECT {compared} FROM _old EXCEPT SELECT {compared} FROM _new) d"
            f" ON {self._same(contract, '_old', 'd')}"
        )
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _came AS SELECT * FROM _new SEMI JOIN"
            f" (SELECT {compared} FROM _new EXCEPT SELECT {compared} FROM _old) d"
            f" ON {self._same(contract, '_new', 'd')}"
        )
        self.connection.execute(f"DELETE FROM {target} WHERE rowid IN (SELECT _place FROM _gone)")
        self.connection.execute(f"INSERT INTO {target} BY NAME FROM _came")
        changed = self.query(
            "SELECT * EXCLUDE (_place), false AS _came FROM _gone UNION ALL BY NAME SELECT *, true AS _came FROM _came"
        )
        for temporary in ("_new", "_old", "_gone", "_came", "_scope"):
            self.connection.execute(f"DROP TABLE IF EXISTS temp.{temporary}")
        if changed.height:
            self._journal_rows(contract, "SELECT * FROM _changed", changed)
        return changed

    def supersede(self, name: str, stale: pl.DataFrame, new: pl.DataFrame, now: datetime) -> None:
        """Close rows of a table with recorded_at and superseded_at, and open others, both at `now`.

        A row recorded at `now` itself never was knowledge: it is removed instead of closed.
        """
        contract, target = CONTRACTS[name], table_name(name)
        if stale.height:
            self._materialise("_stale", contract.conform(stale))
            match = _match(contract.key, "t", "s")
            self.connection.execute(
                f"DELETE FROM {target} t USING _stale s WHERE {match} AND t.recorded_at >= ?", [now]
            )
            self.connection.execute(
                f"UPDATE {target} t SET superseded_at = ? FROM _stale s WHERE {match} AND t.superseded_at IS NULL",
                [now],
            )
            self.connection.execute("DROP TABLE temp._stale")
        self.append_new(name, new)

    def delete(self, table: str, keys: pl.DataFrame) -> int:
        """Delete the rows of a table (`schema.table`) whose columns equal any row of `keys`. Returns how many."""
        if keys.is_empty():
            return 0
        match = _match(keys.columns, "t", "k")
        contract = CONTRACTS.get(table)
        with self._registered({"_keys": keys.unique()}):
            if contract is not None and contract.journal:
                self._journal_rows(contract, f"SELECT t.* FROM {table_name(table)} t SEMI JOIN _keys k ON {match}")
            done = self.connection.execute(f"DELETE FROM {table_name(table)} t USING _keys k WHERE {match}").fetchall()
        return int(done[0][0])

    def rename(self, table: str, column: str, names: pl.DataFrame) -> int:
        """Replace the values of `column` by `name`, as paired in `names` (column, name). Returns the rows changed."""
        if names.is_empty():
            return 0
        renamed = f"{q(column)} = n.name FROM _names n WHERE t.{q(column)} = n.{q(column)}"
        with self._registered({"_names": names}):
            done = self.connection.execute(f"UPDATE {table_name(table)} t SET {renamed}").fetchall()
        return int(done[0][0])

    def truncate(self, names: Iterable[str]) -> None:
        for name in names:
            self.connection.execute(f"DELETE FROM {table_name(name)}")

    def quarantine(self, name: str, bad: pl.DataFrame, *, observed_at: datetime) -> None:
        """Keep refused rows (`key`, `reasons`, `row`, `source`, `stored`) once per key and reason; `stored` tells that
        the row was stored without the fields that could not be read."""
        table = f"quarantine.{q(CONTRACTS[name].table)}"
        if bad.is_empty():
            return
        stored = pl.col("stored") if "stored" in bad.columns else pl.lit(False).alias("stored")
        self._materialise("_bad", bad.select("key", "reasons", "row", "source", stored).unique(maintain_order=True))
        self.connection.execute(f"DELETE FROM {table} t USING _bad b WHERE t.key = b.key")
        self.connection.execute(
            f"INSERT INTO {table} (key, reasons, row, source, observed_at, resolved, stored)"
            " SELECT key, reasons, row, source, ?, false, stored FROM _bad",
            [observed_at],
        )
        self.connection.execute("DROP TABLE temp._bad")

    def resolve_quarantine(self, name: str, keys: pl.Series) -> None:
        """Mark refused rows whose key has since come in good order."""
        table = f"quarantine.{q(CONTRACTS[name].table)}"
        if self.scalar(f"SELECT count(*) FROM {table} WHERE NOT resolved"):
            with self._registered({"_keys": pl.DataFrame({"key": keys.cast(pl.String)})}):
                self.connection.execute(
                    f"UPDATE {table} SET resolved = true WHERE NOT resolved AND key IN (SELECT key FROM _keys)"
                )

    # --- journal

    def journal(self, topic: str, keys: Iterable[str | int] | pl.DataFrame) -> int:
        """Journal keys that no contract's journal covers: values, or a frame with a column per value of a key. Nulls
        are left out. Returns how many."""
        frame = keys if isinstance(keys, pl.DataFrame) else pl.Series("key", list(keys), strict=False).to_frame()
        frame = frame.unique().drop_nulls()
        if frame.height:
            key = ", ".join(f"{q(column)}::VARCHAR" for column in frame.columns)
            self._journalled(f"SELECT '{topic}' AS topic, [{key}] AS key FROM _changed", frame)
        return frame.height

    def _journal_rows(self, contract: Contract, rows: str, changed: pl.DataFrame | None = None) -> None:
        """Journal changed rows as the contract declares. `rows` is SQL that gives them."""
        told = [
            f"SELECT DISTINCT {entry.topic_sql} AS topic, [{', '.join(f'({key})::VARCHAR' for key in entry.key_sql)}]"
            f" AS key FROM ({rows}) WHERE {' AND '.join(f'({key}) IS NOT NULL' for key in entry.key_sql)}"
            for entry in contract.journal
        ]
        if told:
            self._journalled(" UNION ".join(told), changed)

    def _journalled(self, keys: str, changed: pl.DataFrame | None) -> None:
        seq = self.scalar("SELECT nextval('meta.change_seq')")
        with self._registered({} if changed is None else {"_changed": changed}):
            self.connection.execute(f"INSERT INTO meta.change SELECT {seq}, topic, key FROM ({keys})")

    def changes(self, consumer: str, topics: Sequence[str], signature: str = "") -> Changes:
        """What `consumer` has not seen of `topics`.

        Everything, where it has never run or its rules (`signature`) are not those of its last run.
        """
        upto = self.scalar("SELECT coalesce(max(seq), 0) FROM meta.change") or 0
        rows = self.connection.execute(
            "SELECT seq FROM meta.cursor WHERE consumer = ? AND signature = ?", [consumer, signature]
        ).fetchall()
        if not rows:
            return Changes(True, {}, upto, signature)
        cursor = rows[0][0]
        rows = self.connection.execute(
            "SELECT topic, list(DISTINCT key ORDER BY key) FROM meta.change"
            " WHERE seq > ? AND topic IN (SELECT unnest(?)) GROUP BY topic",
            [cursor, list(topics)],
        ).fetchall()
        return Changes(False, dict(rows), max(upto, cursor), signature)

    def advance(self, consumer: str, changes: Changes) -> None:
        """Store how far a consumer has come, in the transaction of its result."""
        self.connection.execute("DELETE FROM meta.cursor WHERE consumer = ?", [consumer])
        self.connection.execute("INSERT INTO meta.cursor VALUES (?, ?, ?)", [consumer, changes.upto, changes.signature])

    @contextmanager
    def following(self, consumer: str, topics: Sequence[str], signature: str = "") -> Iterator[Changes]:
        """What a consumer has not seen, in a transaction that moves its cursor when it ends well."""
        changes = self.changes(consumer, topics, signature)
        with self.transaction():
            yield changes
            self.advance(consumer, changes)

    def forget_cursors(self, consumers: Sequence[str]) -> None:
        self.connection.execute("DELETE FROM meta.cursor WHERE consumer IN (SELECT unnest(?))", [list(consumers)])

    def compact_journal(self) -> None:
        """Drop journal rows every consumer has seen; the newest stays, so that sequence numbers never restart."""
        self.connection.execute(
            "DELETE FROM meta.change WHERE seq <= (SELECT min(seq) FROM meta.cursor)"
            " AND seq < (SELECT max(seq) FROM meta.change)"
        )

    # --- inside

    @contextmanager
    def _registered(self, frames: Mapping[str, pl.DataFrame]) -> Iterator[None]:
        for name, frame in frames.items():
            self.connection.register(name, frame)
        try:
            yield
        finally:
            for name in frames:
                self.connection.unregister(name)

    def _materialise(self, name: str, frame: pl.DataFrame) -> None:
        with self._registered({"_frame": frame}):
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM _frame")

    def _replace_rows(self, contract: Contract, source: str) -> pl.DataFrame:
        target = table_name(contract.name)
        match = _match(contract.key, "t", "n")
        before = f" UNION ALL BY NAME SELECT t.* FROM {target} t SEMI JOIN {source} n ON {match}"
        keyed = all(key in contract.key for entry in contract.journal for key in entry.key_sql)
        self._journal_source(contract, source, "" if keyed else before)
        self.connection.execute(f"DELETE FROM {target} t USING {source} n WHERE {match}")
        self.connection.execute(f"INSERT INTO {target} BY NAME FROM {source}")
        return self._drop(source, contract)

    def _journal_source(self, contract: Contract, source: str, more: str = "") -> None:
        if contract.journal and self.scalar(f"SELECT count(*) FROM {source}"):
            self._journal_rows(contract, f"SELECT * FROM {source}{more}")

    def _drop(self, source: str, contract: Contract) -> pl.DataFrame:
        keys = ", ".join(q(column) for column in contract.key)
        written = self.query(f"SELECT {keys} FROM {source}")
        self.connection.execute(f"DROP TABLE temp.{source}")
        self.connection.execute("DROP TABLE IF EXISTS temp._new")
        return written

    @staticmethod
    def _same(contract: Contract, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{q(c)} IS NOT DISTINCT FROM {right}.{q(c)}" for c in contract.compared)


def _places(name: str, keys: pl.DataFrame, given: str, width: int) -> str:
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
