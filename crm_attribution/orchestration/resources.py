"""What every step needs, made once per run: settings, rules, clock and warehouse; and how each is opened."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from crm_attribution import configuration, mapping
from crm_attribution.clock import Clock
from crm_attribution.errors import WarehouseBusy
from crm_attribution.http.clock import make_clock
from crm_attribution.ledger.settings import open_ledger
from crm_attribution.ledger.store import Ledger
from crm_attribution.mapping import Rules
from crm_attribution.orchestration.connections import Connections
from crm_attribution.privacy import erase as privacy
from crm_attribution.raw.readers import Readers, readers
from crm_attribution.settings import Settings
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.lock import RunLock

WAREHOUSE_WAIT = 30.0
"""Seconds to wait for another process to release the writer's file, CRM_ATTRIBUTION_LOCK_WAIT where that is less."""

_progress: list[Callable[[str], None]] = []


@dataclass
class Pipeline:
    """What a step works with.

    Attributes:
        settings: of this environment.
        rules: the mapping.
        clock: every step's only source of the time.
        warehouse: opened in sessions.
        run_id: Dagster's; empty outside of a run.
        tags: of the run.
    """

    settings: Settings
    rules: Rules
    clock: Clock
    warehouse: Warehouse
    run_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def connections(self) -> Connections:
        """HubSpot and the APIs of sources."""
        return Connections(self.settings, self.clock, self.warehouse)

    @cached_property
    def readers(self) -> Readers:
        """Readers of HubSpot and the sources.

        Raises:
            ConfigurationError: listing every missing setting.
        """
        self.connections.require()
        return readers(self.warehouse, self.connections.hubspot, self.clock, self.rules, self.settings.inbox)

    @cached_property
    def ledger(self) -> Ledger:
        """The delivery ledger."""
        return open_ledger(self.settings)

    def say(self, message: str) -> None:
        """Tell whoever watches on the command line."""
        for listener in _progress:
            listener(message)


@contextmanager
def progress(listener: Callable[[str], None]) -> Iterator[None]:
    """Send what runs in this process report to `listener`."""
    _progress.append(listener)
    try:
        yield
    finally:
        _progress.remove(listener)


def open_pipeline(given: Settings | None = None, run_id: str = "") -> Pipeline:
    """Settings, rules, clock and warehouse of this environment, without the run lock."""
    given = given or configuration.load()
    warehouse = open_warehouse(given, WAREHOUSE_WAIT)
    return Pipeline(given, mapping.load(given.mapping), make_clock(given), warehouse, run_id)


def open_warehouse(given: Settings, wait_seconds: float) -> Warehouse:
    """The data directory's warehouse, waiting for its file no longer than asked and than CRM_ATTRIBUTION_LOCK_WAIT."""
    return Warehouse(given.data_dir, min(wait_seconds, given.lock_wait_seconds), given.memory)


def run_lock(given: Settings) -> RunLock:
    """The lock that makes runs of one data directory one at a time."""
    return RunLock(given.data_dir / "run.lock")


def warehouse_stamp(given: Settings) -> str | None:
    """Changes with every write to the warehouse file; opens nothing. None while it does not exist."""
    path = Warehouse(given.data_dir).path
    if not path.exists():
        return None
    wal = path.with_name(path.name + ".wal")
    states = [file.stat() for file in (path, wal) if file.exists()]
    return " ".join(f"{state.st_ino}:{state.st_size}:{state.st_mtime_ns}" for state in states)


def privacy_waiting(given: Settings, since: str) -> list[int] | None:
    """Contacts whose erasure waits, read between two runs; None during a run."""
    holder = {"run_id": "privacy_requests", "command": "looks for privacy deletions", "since": since}
    try:
        with run_lock(given).acquire(0, holder), open_warehouse(given, 0).session() as session:
            return privacy.waiting(session)
    except WarehouseBusy:
        return None
