"""What every asset needs, made once per run: settings, rules, clock, warehouse, clients, and the run lock.

The lock is taken when the run's resources start and held until they end, by command-line and queued runs alike; the
kernel frees it when the process dies.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, PARTITION_NAME_TAG

from crm_attribution import configuration, mapping, stopping
from crm_attribution.clock import Clock, WallClock, iso
from crm_attribution.errors import ConfigurationError, Terminal, WarehouseBusy, WarehouseDamaged
from crm_attribution.http.clock import make_clock
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot import settings as hubspot_settings
from crm_attribution.hubspot.access import VERSION, Credential, credential, open_transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.limits import Limits
from crm_attribution.mapping import Rules
from crm_attribution.orchestration import hours
from crm_attribution.orchestration.instance import note_process
from crm_attribution.privacy import erase as privacy
from crm_attribution.raw.readers import Readers, readers
from crm_attribution.settings import SNAPSHOT_HOURS, Settings
from crm_attribution.sources import sources
from crm_attribution.sources.base import Source
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.engine import clear_spill
from crm_attribution.warehouse.lock import RunLock
from crm_attribution.warehouse.state import check_start

_LIMITS: dict[tuple[str, str], Limits] = {}
"""The limits of an account and its credential, for the whole process: HubSpot counts every run and client together."""

WAREHOUSE_WAIT = 30.0
"""Seconds to wait for another process to release the writer's file, CRM_ATTRIBUTION_LOCK_WAIT where that is less."""

_progress: list[Callable[[str], None]] = []


@dataclass
class Pipeline:
    """Everything a run works with. HTTP clients are made when first asked for, so that SQL-only runs need no token."""

    settings: Settings
    rules: Rules
    clock: Clock
    warehouse: Warehouse
    run_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def readers(self) -> Readers:
        """Readers of HubSpot and the sources, with the settings they need.

        Raises:
            ConfigurationError: listing every missing setting.
        """
        of_sources = [setting for source in sources().values() for setting in source.needed(self.settings)]
        self.settings.require([*hubspot_settings.needed(self.settings), *of_sources])
        return readers(self.warehouse, self.hubspot, self.clock, self.rules, self.settings.inbox)

    @cached_property
    def credential(self) -> Credential:
        """Who asks HubSpot."""
        return credential(self.settings, self.clock)

    @cached_property
    def hubspot_limits(self) -> Limits:
        """What HubSpot lets this account and credential do."""
        given = self.settings
        key = (given[hubspot_settings.BASE_URL], given.value(self.credential.setting))
        if key not in _LIMITS:
            _LIMITS[key] = Limits(
                self.clock,
                burst=given[hubspot_settings.BURST_LIMIT],
                daily=given[hubspot_settings.DAILY_LIMIT],
                reserve=(given[hubspot_settings.DAILY_RESERVE] or 0) / 100,
                oauth=hubspot_settings.uses_oauth(given),
            )
            self.learn_time_zone()
        return _LIMITS[key]

    def learn_time_zone(self) -> None:
        """When the account's day begins, as far as the warehouse knows; outside of any session."""
        with self.warehouse.session() as session:
            zone = session.scalar("SELECT time_zone FROM raw.account")
        self.hubspot_limits.in_time_zone(zone)

    @cached_property
    def hubspot(self) -> HubSpotClient:
        """HubSpot, as the settings' credential and inside its limits.

        Raises:
            ConfigurationError: when settings are missing, or name two credentials.
        """
        limits = self.hubspot_limits
        return HubSpotClient(open_transport(self.settings, self.credential, limits), version=VERSION)

    def transport_to(self, source: Source) -> Transport | None:
        """Calls to a source's API, where one is configured."""
        if not source.connects(self.settings):
            return None
        where = source.connection(self.settings)
        return Transport(
            where.base_url,
            service=source.name,
            headers=dict(where.headers),
            secrets=self.settings.secrets(),
            credential=where.credential,
        )

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


def check_closed(pipeline: Pipeline, tags: Mapping[str, str]) -> None:
    """An hour is run when it is over. What a run knows as of its hour's end never goes back, so an hour of next year,
    run by a typing mistake, would move every window of the warehouse there for good.

    Raises:
        ConfigurationError: when the run's last hour has not ended by the pipeline's clock.
    """
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or tags.get(PARTITION_NAME_TAG)
    if last is None:
        return
    newest = hours.newest(pipeline.clock)
    if hours.begin(last) > newest:
        raise ConfigurationError(
            f"the hour {last} (UTC) is not over: it is {iso(pipeline.clock.now())}; the newest hour that can be run is "
            f"{hours.key(newest)}"
        )


@dg.resource(description="Settings, rules, clock, warehouse and clients; holds the run lock for the whole run.")
def pipeline_resource(context: dg.InitResourceContext) -> Iterator[Pipeline]:
    given = configuration.load()
    run_id = context.run_id or "ad hoc"
    since = iso(WallClock().now())
    log = context.log or dg.get_dagster_logger()
    for message in given.unknown:
        log.warning(message)
    waiting = f"another run holds the data directory; waiting up to {given.lock_wait_seconds:.0f} s for it"
    holder = {"run_id": run_id, "command": "dagster run", "since": since}
    note_process(given, run_id, since)  # before the wait: also a run that is killed while it waits is found
    lock = run_lock(given).acquire(given.lock_wait_seconds, holder, lambda _: log.info(waiting))
    with stopping.watched(), lock:
        clear_spill(given.data_dir)
        pipeline = open_pipeline(given, run_id)
        with pipeline.warehouse.session() as session:
            check_start(session.state, given.start)
        pipeline.tags = context.dagster_run.tags if context.dagster_run else {}
        check_closed(pipeline, pipeline.tags)
        _take_snapshot(pipeline, log)
        yield pipeline


def _take_snapshot(pipeline: Pipeline, log: logging.Logger) -> None:
    """Before the run writes. A snapshot that cannot be made for want of space does not stop it."""
    every = timedelta(hours=pipeline.settings[SNAPSHOT_HOURS] or 0)
    try:
        taken = snapshots.take(pipeline.warehouse, pipeline.clock.now(), every)
    except WarehouseDamaged:
        raise
    except (Terminal, OSError) as error:
        log.warning(f"no snapshot was taken, the last one stays: {error}")
        return
    if taken is not None:
        log.info(f"snapshot {taken.name}")
