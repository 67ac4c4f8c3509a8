"""The warehouse: `warehouse.duckdb` (raw … delivery) with `marts.duckdb` attached. Open late, close early.

A transaction writes one of the two files, never both. No connection is held during HTTP, but for the fraction of a
second that a run keeps the files open between two sessions (`Warehouse.kept_open`).
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from crm_attribution.errors import ConfigurationError, SessionOpen, WarehouseBusy
from crm_attribution.warehouse import handover
from crm_attribution.warehouse.engine import culprits, damage, damaged, interrupted, open_engine
from crm_attribution.warehouse.macros import create_macros
from crm_attribution.warehouse.schema import initialise
from crm_attribution.warehouse.session import Session

# Row groups keep DuckDB's own size: with ROW_GROUP_SIZE 8192 a commit of DuckDB 2.0.0 failed with an internal error
# after a few rounds of deleting and inserting.
IDLE, LONGEST = 0.2, 1.0
"""Seconds for which a run keeps the files open after a session, and in which sessions follow each other without letting
another process have them."""

MARTS_STORAGE = "v1.0.0"
"""Storage version of the marts file: DuckDB 1.1 and later can open it."""


@dataclass
class Open:
    """Whether the files are open between two sessions.

    Attributes:
        kept: whether they may be (`Warehouse.kept_open`).
        engine: that has them attached; None while they are closed.
        since: when it attached them (monotonic seconds).
        closing: closes them when no session follows.
    """

    kept: bool = False
    engine: duckdb.DuckDBPyConnection | None = None
    since: float = 0.0
    closing: threading.Timer | None = None


@dataclass(frozen=True)
class Warehouse:
    """Where the warehouse's files are and how long to wait for another process to release them.

    Attributes:
        directory: the data directory.
        wait_seconds: how long to wait for another process.
        memory_limit: of its DuckDB, as `4GB`; by default half of the memory there is.
    """

    directory: Path
    wait_seconds: float = 30.0
    memory_limit: str | None = None
    _prepared: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)
    _engines: dict[int, duckdb.DuckDBPyConnection] = field(default_factory=dict, repr=False, compare=False)
    _open_sessions: list[Session] = field(default_factory=list, repr=False, compare=False)
    _threads: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)
    _open: Open = field(default_factory=Open, repr=False, compare=False)

    @property
    def path(self) -> Path:
        return self.directory / "warehouse.duckdb"

    @property
    def marts_path(self) -> Path:
        return self.directory / "marts.duckdb"

    @property
    def finance_path(self) -> Path:
        return self.directory / "finance.duckdb"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Both files opened for a short while, tables present and migrated.

        Raises:
            WarehouseBusy: when another process holds the file beyond `wait_seconds`.
            SessionOpen: inside another session of this warehouse: what shares its transactions is handed the session.
        """
        with self._threads:
            if self._open_sessions:
                raise SessionOpen("a session of this warehouse is open in this thread: pass it on")
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            engine = self._engine()
            with self._attached(engine):
                connection = engine.cursor()
                try:
                    connection.execute("SET search_path = 'warehouse.main,marts_file.marts'")
                    self._prepare(connection)
                    create_macros(connection)
                    self._open_sessions.append(Session(connection))
                    yield self._open_sessions[-1]
                finally:
                    self._open_sessions.clear()
                    connection.close()

    @contextmanager
    def exclusive(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Both files attached (`warehouse`, `marts_file`) with no session open, for work on the files themselves.

        Raises:
            WarehouseBusy: as `session`; also inside a session of this warehouse.
        """
        with self._threads:
            if self._open_sessions:
                raise WarehouseBusy("a session of this warehouse is open; close it before working on its files")
            self._close()
            engine = self._engine()
            with self._attached(engine):
                yield engine
            self._close()

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Within it the files stay open for a moment between sessions that follow each other: attaching and detaching
        them costs more than most sessions do. Other processes wait that moment longer."""
        self._open.kept = True
        try:
            yield
        finally:
            self._open.kept = False
            self._close()

    def _close(self) -> None:
        """Let the files go, where they are open and no session is."""
        with self._threads:
            if self._open.closing is not None:
                self._open.closing.cancel()
            if self._open.engine is not None and not self._open_sessions and self.path not in _damaged:
                self._let_go(self._open.engine)

    def _let_go(self, engine: duckdb.DuckDBPyConnection) -> None:
        """Close both files, and note what they are."""
        was_open = self._open.engine is engine
        _detach(engine)
        self._open.engine = None
        if was_open:
            handover.note([self.path, self.marts_path])

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Once a process: what a dead rewriting left goes, tables are made and migrated."""
        if not self._prepared.get("done"):
            remove_leftovers(self.path)
            remove_leftovers(self.marts_path)
            initialise(connection)
            self._prepared["done"] = True

    def _engine(self) -> duckdb.DuckDBPyConnection:
        """This process's DuckDB, in memory: starting one takes longer than attaching and detaching both files."""
        if self.path in _damaged:
            raise damaged(*_damaged[self.path])
        pid = os.getpid()
        if pid not in self._engines:
            self._engines.clear()
            self._engines[pid] = open_engine(self.directory, self.memory_limit)
        return self._engines[pid]

    @contextmanager
    def _attached(self, engine: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Both files attached. After an error that speaks of damage this process writes nothing more to them."""
        kept = False
        try:
            self._reach(engine)
            yield
            kept = self._open.kept and time.monotonic() - self._open.since < LONGEST
        except Exception as error:
            if interrupted(error):  # DuckDB puts its own error in the place of what the signal raised
                raise KeyboardInterrupt from None
            what = damage(error)
            if what is None:
                raise
            _damaged[self.path] = (culprits(what, (self.path, self.marts_path)), what)
            self._open.engine = None
            # What is in memory must not reach the file, neither by detaching it nor when the process ends.
            engine.execute("PRAGMA disable_checkpoint_on_shutdown")
            raise damaged(*_damaged[self.path]) from None  # the innermost message is the one that is shown
        finally:
            if self.path not in _damaged and not kept:
                self._let_go(engine)
            elif kept:
                self._open.closing = threading.Timer(IDLE, self._close)
                self._open.closing.daemon = True
                self._open.closing.start()

    def _reach(self, engine: duckdb.DuckDBPyConnection) -> None:
        """Attach both files, unless the session before has left them open."""
        if self._open.closing is not None:
            self._open.closing.cancel()
        if self._open.engine is not engine:
            self._attach(engine)
            handover.take_over(engine, [self.path, self.marts_path])
            self._open.engine, self._open.since = engine, time.monotonic()

    def _attach(self, engine: duckdb.DuckDBPyConnection) -> None:
        """Open both files, waiting for another process to release them."""
        deadline = time.monotonic() + self.wait_seconds
        while True:
            try:
                engine.execute(f"ATTACH '{sql_literal(self.path)}' AS warehouse")
                break
            except duckdb.IOException as error:
                if "Conflicting lock" not in str(error):
                    raise
                if time.monotonic() >= deadline:
                    raise WarehouseBusy(_busy_message(self.path, str(error), self.wait_seconds)) from None
                time.sleep(0.1)
        try:
            marts = sql_literal(self.marts_path)
            engine.execute(f"ATTACH '{marts}' AS marts_file (STORAGE_VERSION '{MARTS_STORAGE}')")
            engine.execute("CREATE SCHEMA IF NOT EXISTS marts_file.marts")
        except duckdb.Error:
            _detach(engine)
            raise


_damaged: dict[Path, tuple[list[Path], str]] = {}
"""Warehouses this process met damaged -> which of their files, and what DuckDB said: it opens none of them again."""


def _detach(engine: duckdb.DuckDBPyConnection) -> None:
    for name in ("marts_file", "warehouse"):
        engine.execute(f"DETACH DATABASE IF EXISTS {name}")


def fresh_path(path: Path) -> Path:
    """Where the new version of a database file is written before it replaces the old one."""
    return path.with_name(path.name + ".rewriting")


def remove_leftovers(path: Path) -> None:
    """Remove what a rewrite that died has left. The caller has the database open, so no other process rewrites it."""
    fresh = fresh_path(path)
    fresh.unlink(missing_ok=True)
    fresh.with_name(fresh.name + ".wal").unlink(missing_ok=True)


def sql_literal(path: Path) -> str:
    """A path inside the quotes of a SQL literal."""
    text = str(path)
    if "\0" in text:
        raise ConfigurationError("the data directory's name holds a NUL byte")
    return text.replace("'", "''")


def _busy_message(path: Path, error: str, waited: float) -> str:
    holder = re.search(r"held in (.*?) \(PID (\d+)\)", error)
    who = f"process {holder[2]} ({holder[1]})" if holder else "another process"
    return (
        f"{path.name} is held by {who}; waited {waited:.0f} s. Only one process may open the writer's file: "
        "let the running job end, or close the client that opened it and query finance.duckdb instead"
    )
