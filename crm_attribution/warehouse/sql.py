"""SQL over one connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import polars as pl


class Sql:
    """One open connection, and the ways a statement is run on it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def query(self, sql: str, parameters: Sequence[object] | None = None, **frames: pl.DataFrame) -> pl.DataFrame:
        """Run a SELECT; `frames` are visible as views of their names."""
        with self.registered(frames):
            relation = self.connection.sql(sql, params=list(parameters) if parameters else None)
            frame: pl.DataFrame = relation.pl()
            return frame

    def scalar(self, sql: str, parameters: Sequence[object] | None = None) -> Any:
        rows = self.connection.execute(sql, list(parameters) if parameters else None).fetchall()
        return rows[0][0] if rows else None

    def change(self, sql: str, **frames: pl.DataFrame) -> None:
        """Run a statement that writes; `frames` are visible as views of their names."""
        with self.registered(frames):
            self.connection.execute(sql)

    @contextmanager
    def registered(self, frames: Mapping[str, pl.DataFrame]) -> Iterator[None]:
        """Make frames visible as views of their names."""
        for name, frame in frames.items():
            self.connection.register(name, frame)
        try:
            yield
        finally:
            for name in frames:
                self.connection.unregister(name)

    def materialise(self, name: str, frame: pl.DataFrame) -> None:
        """Make a frame a temporary table."""
        with self.registered({"_frame": frame}):
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM _frame")
