"""Dagster's event log in the same SQLite files, with connections that stay open and one commit for many events.

Dagster opens a connection, looks up its tables and commits twice for each event it stores, and an hour has some eight
hundred. The files and their tables are Dagster's own: `dagster.yaml` may name `SqliteEventLogStorage` again at any
time.
https://docs.dagster.io/deployment/dagster-instance#event-log-storage

What a step says before its end (outputs, materializations, checks) is stored with the next event of another kind: when
the next step starts, the step fails or the run ends, or a second after the first of them. Whoever reads in this process
sees all of it. A killed process may lose the last of them, as it loses the step.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.base import AssetRecord
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

_WITHIN_A_STEP = {
    dg.DagsterEventType.STEP_OUTPUT,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_SUCCESS,
}
"""Events that another one follows soon."""

_RECORD = "record"

_OF_A_CHECK = {dg.DagsterEventType.STEP_OUTPUT, dg.DagsterEventType.ASSET_CHECK_EVALUATION}

_LONGEST = 1.0
"""Seconds that an event waits for its commit while others follow."""


@dataclass
class _Shared:
    """The connections of events that are being stored together, by file, and their transactions."""

    connections: dict[str, Connection]
    transactions: ExitStack


class EventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage` that keeps the connections of the files used last, and commits many events at once."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._has_columns = False
        self._last_asked: tuple[Any, dg.EventRecordsResult] | None = None
        self._waiting: list[dg.EventLogEntry] = []
        self._waits_since = 0.0
        self._shared: _Shared | None = None
        self._read: dict[dg.AssetKey, dict[Any, Any]] | None = None
        super().__init__(base_dir, inst_data)
        self._db_lock: Any = threading.RLock()  # one thread stores many events, and each asks for it anew

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"home": dg.StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> EventLog:
        return cls(os.path.join(config_value["home"], "history", "runs"), inst_data)

    def store_event(self, event: dg.EventLogEntry) -> None:
        told = event.dagster_event
        more = told is not None and told.event_type in _WITHIN_A_STEP and bool(event.run_id and event.step_key)
        with self._db_lock:
            if told is None or told.event_type not in _OF_A_CHECK:
                self._last_asked = None
            if self._read is not None and told is not None and told.asset_key is not None:
                self._read.pop(told.asset_key, None)
            if self._waiting and self._waiting[0].run_id != event.run_id:
                self._store_waiting()
            if not self._waiting:
                self._waits_since = time.monotonic()
            self._waiting.append(event)
            if not more or time.monotonic() - self._waits_since > _LONGEST:
                self._store_waiting()

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """What a run plans: Dagster hands it over at once where `DAGSTER_EVENT_BATCH_SIZE` is set."""
        with self._db_lock:
            self._store_waiting()
            self._waiting = list(events)
            self._store_waiting()

    def _store_waiting(self) -> None:
        """Store what waits with one commit a file, or one by one where that fails: a bad event takes no other along."""
        events, self._waiting = self._waiting, []
        try:
            if len(events) > 1 and self._stored_together(events):
                return
            while events:
                super().store_event(events[0])
                del events[0]
        except Exception:
            del events[0]
            raise
        finally:
            self._waiting[:0] = events  # a stop has come in between

    def _stored_together(self, events: list[dg.EventLogEntry]) -> bool:
        try:
            with self._together():
                for event in events:
                    super().store_event(event)
        except Exception as error:
            logging.getLogger(__name__).warning(f"{len(events)} events are stored one by one: {type(error).__name__}")
            return False
        events.clear()
        return True

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Each file's connection stays in one transaction until the end."""
        with ExitStack() as transactions:
            self._shared = _Shared({}, transactions)
            try:
                yield
            finally:
                self._shared = None

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if (shared := self._shared) is not None:
                if shard not in shared.connections:
                    shared.connections[shard] = shared.transactions.enter_context(self._engine(shard).connect())
                    shared.transactions.enter_context(shared.connections[shard].begin())
                yield shared.connections[shard]
                return
            if self._waiting:  # whoever reads sees what was told
                self._store_waiting()
            with self._engine(shard).connect() as connection, connection.begin():
                yield connection

    def fetch_materializations(
        self,
        records_filter: dg.AssetKey | dg.AssetRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> dg.EventRecordsResult:
        """Each check of an asset asks for the partition that it judges: once for all of them, until the asset or the
        step is another one."""
        asked = (records_filter, limit, cursor, ascending)
        if self._last_asked is None or self._last_asked[0] != asked:
            self._last_asked = (asked, super().fetch_materializations(*asked))
        return self._last_asked[1]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within, nothing but this process materializes assets, as in a run that holds the run lock: what its steps
        ask about the assets before them, for the versions of their inputs, is read once, until it tells of them."""
        self._read = {}
        try:
            yield
        finally:
            self._read = None

    def get_asset_records(self, asset_keys: Sequence[dg.AssetKey] | None = None) -> Sequence[AssetRecord]:
        with self._db_lock:
            if self._read is None or asset_keys is None:
                return super().get_asset_records(asset_keys)
            wanted = [key for key in asset_keys if _RECORD not in self._read.get(key, {})]
            found = (
                {record.asset_entry.asset_key: record for record in super().get_asset_records(wanted)} if wanted else {}
            )
            for key in wanted:
                self._read.setdefault(key, {})[_RECORD] = found.get(key)
            records = [self._read[key][_RECORD] for key in asset_keys]
            return [record for record in records if record is not None]

    def get_latest_tags_by_partition(
        self,
        asset_key: dg.AssetKey,
        event_type: dg.DagsterEventType,
        tag_keys: Sequence[str],
        asset_partitions: Sequence[str] | None = None,
        before_cursor: int | None = None,
        after_cursor: int | None = None,
    ) -> Mapping[str, Mapping[str, str]]:
        def read() -> Mapping[str, Mapping[str, str]]:
            return super(EventLog, self).get_latest_tags_by_partition(
                asset_key, event_type, tag_keys, asset_partitions, before_cursor, after_cursor
            )

        with self._db_lock:
            if self._read is None:
                return read()
            partitions = None if asset_partitions is None else tuple(asset_partitions)
            asked = (event_type, tuple(tag_keys), partitions, before_cursor, after_cursor)
            known = self._read.setdefault(asset_key, {})
            if asked not in known:
                known[asked] = read()
            found: Mapping[str, Mapping[str, str]] = known[asked]
            return found

    def has_table(self, table_name: str) -> bool:
        """Dagster asks this for each event; a table that is there does not go."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _has_asset_key_index_cols_on_connection(self, conn: Connection) -> bool:
        """As `has_table`."""
        self._has_columns = self._has_columns or super()._has_asset_key_index_cols_on_connection(conn)
        return self._has_columns

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
        with self._db_lock:
            self._store_waiting()
        super().dispose()
        with self._db_lock:
            for shard in list(self._engines):
                self._close(shard)


def _synchronise_at_checkpoints(connection: Any, _: Any) -> None:
    """No fsync an event: a killed process loses nothing, a power cut at most the last events. The files stay whole.

    https://www.sqlite.org/pragma.html#pragma_synchronous
    """
    connection.execute("PRAGMA synchronous=NORMAL")
