"""Dagster's event log in the same SQLite files, with connections that stay open.

Dagster opens a connection, and compiles every statement anew, for each event it stores, and an hour has some six
hundred. That was a third of the CPU time of an hour. The files and their tables are Dagster's own: `dagster.yaml` may
name `SqliteEventLogStorage` again at any time.
https://docs.dagster.io/deployment/dagster-instance#event-log-storage
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, StaticPool

KEPT = 4
"""Files kept open: the index and those of the runs used last. The web server looks into many, a run into its own."""


_BUSY = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}


class EventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage` that keeps the connections of the files used last."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"home": dg.StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> EventLog:
        return cls(os.path.join(config_value["home"], "history", "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        """The open file of a run, or of the index; the one used longest ago is closed for it."""
        if not os.path.exists(self.path_for_shard(shard)):  # a deleted run's file would be written to unseen
            self._close(shard)
        if shard not in self._engines:
            while len(self._engines) >= KEPT:
                self._close(next(iter(self._engines)))
            self._initdb(create_engine(self.conn_string_for_shard(shard), poolclass=NullPool, connect_args=_BUSY))
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={**_BUSY, "check_same_thread": False},
            )
            event.listen(engine, "connect", _synchronise_at_checkpoints)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        return self._engines[shard]

    def _close(self, shard: str) -> None:
        if engine := self._engines.pop(shard, None):
            engine.dispose()

    def wipe(self) -> None:
        with self._db_lock:
            for shard in list(self._engines):
                self._close(shard)
        super().wipe()

    def dispose(self) -> None:
        super().dispose()
        with self._db_lock:
            for shard in list(self._engines):
                self._close(shard)


def _synchronise_at_checkpoints(connection: Any, _: Any) -> None:
    """No fsync an event: a killed process loses nothing, a power cut at most the last events. The files stay whole.

    https://www.sqlite.org/pragma.html#pragma_synchronous
    """
    connection.execute("PRAGMA synchronous=NORMAL")
