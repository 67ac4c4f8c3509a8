"""A session: one open connection with its transactions, and the parts of the warehouse over it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.errors import CommitLost
from crm_attribution.warehouse.changes import Changes, Journal
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.quarantine import Quarantine
from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.sql import Sql
from crm_attribution.warehouse.state import State
from crm_attribution.warehouse.tables import Table, places
from crm_attribution.warehouse.versions import watched

NOT_KEPT = "a commit returned without an error and kept nothing: nothing of this step is stored; run it again"


class Session(Sql):
    """One open connection. Made by `Warehouse.session`.

    Attributes:
        journal: what changed, and who has seen it.
        quarantine: refused rows.
        state: what the data directory remembers besides its tables.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(watched(connection))
        self.journal = Journal(self)
        self.quarantine = Quarantine(self)
        self.state = State(self.connection)
        self._dry_run = False

    def __getitem__(self, name: str) -> Table:
        """A table to write: `session["raw.contact"].upsert(frame)`."""
        return Table(self, self.journal, name)

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
        found_by = places(name, keys, "_keys", len(names))
        found = self.query(f"SELECT {listed} FROM {table_name(name)} t WHERE {found_by}", _keys=keys)
        return contract.conform(found).select(names)

    def truncate(self, names: Iterable[str]) -> None:
        for name in names:
            self.connection.execute(f"DELETE FROM {table_name(name)}")

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

    @contextmanager
    def following(self, consumer: str, topics: Sequence[str], signature: str = "") -> Iterator[Changes]:
        """What a consumer has not seen, in a transaction that moves its cursor when it ends well."""
        changes = self.journal.unseen(consumer, topics, signature)
        with self.transaction():
            yield changes
            self.journal.advance(consumer, changes)
