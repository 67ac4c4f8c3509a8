"""The set-up of a run: the lock of the data directory, the snapshot before it writes, and what stops it.

The lock is taken when the run's resources start and held until they end, by command-line and queued runs alike; the
kernel frees it when the process dies.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, PARTITION_NAME_TAG

from crm_attribution import configuration, stopping
from crm_attribution.clock import WallClock, iso
from crm_attribution.errors import ConfigurationError, Terminal, WarehouseDamaged
from crm_attribution.orchestration import hours
from crm_attribution.orchestration.event_log import EventLog
from crm_attribution.orchestration.instance import keep_connections, note_process
from crm_attribution.orchestration.resources import Pipeline, open_pipeline, run_lock
from crm_attribution.settings import SNAPSHOT_HOURS
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.engine import clear_spill
from crm_attribution.warehouse.state import check_start


def check_closed(pipeline: Pipeline, tags: Mapping[str, str]) -> None:
    """An hour is run when it is over. What a run knows as of its hour's end never goes back, so an hour of next year,
    run by a typing mistake, would move every window of the warehouse there for good.

    Raises:
        ConfigurationError: when the run's last hour has not ended by the pipeline's clock.
    """
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or tags.get(PARTITION_NAME_TAG)
    if last is not None:
        check_over(pipeline, hours.begin(last))


def check_over(pipeline: Pipeline, last: datetime) -> None:
    """Refuse an hour that has not ended by the pipeline's clock; as `check_closed`."""
    newest = hours.newest(pipeline.clock)
    if last > newest:
        raise ConfigurationError(
            f"the hour {hours.key(last)} (UTC) is not over: it is {iso(pipeline.clock.now())}; the newest hour that can"
            f" be run is {hours.key(newest)}"
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
    if context.instance is not None:
        keep_connections(context.instance)
    lock = run_lock(given).acquire(given.lock_wait_seconds, holder, lambda _: log.info(waiting))
    with stopping.watched(), lock:
        clear_spill(given.data_dir)
        pipeline = open_pipeline(given, run_id)
        with pipeline.warehouse.session() as session:
            check_start(session.state, given.start)
        pipeline.tags = context.dagster_run.tags if context.dagster_run else {}
        check_closed(pipeline, pipeline.tags)
        _take_snapshot(pipeline, log)
        log_storage = context.instance.event_log_storage if context.instance is not None else None
        alone = log_storage.alone() if isinstance(log_storage, EventLog) else nullcontext()
        with pipeline.warehouse.kept_open(), alone:
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
