"""A person's decision on conversions that wait for one."""

from __future__ import annotations

from crm_attribution.clock import WallClock, iso
from crm_attribution.conversions import mirror
from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger import moves
from crm_attribution.orchestration.resources import open_pipeline, run_lock
from crm_attribution.settings import Settings
from crm_attribution.warehouse.state import newest_hour_end


def release_held(given: Settings, destination: str, reason: str) -> list[str]:
    """Make held rows (or suppressed history) of a destination pending again; returns their ids.

    Raises:
        ConfigurationError: when there is no such destination, or nothing was ever planned.
    """
    if destination not in destinations():
        raise ConfigurationError(f"no destination {destination}; there are: {', '.join(destinations())}")
    holder = {"run_id": "release", "command": "crm-attribution release", "since": iso(WallClock().now())}
    pipeline = open_pipeline(given)
    lock = run_lock(given).acquire(given.lock_wait_seconds, holder)
    with lock, pipeline.warehouse.session() as session:
        newest_hour_end(session.state)
        with mirror.writing(session, pipeline.ledger) as book:
            return moves.release(book, destination, reason, pipeline.clock.now())
