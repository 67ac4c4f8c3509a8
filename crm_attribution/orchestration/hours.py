"""Which hours there are to run: from the first partition to the newest hour that is over by the clock in force."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import dagster as dg

from crm_attribution.clock import Clock, WallClock

HOUR = timedelta(hours=1)


def key(hour: datetime) -> str:
    """The partition key of the hour that begins at `hour`, UTC."""
    return f"{hour.astimezone(UTC):%Y-%m-%d-%H:%M}"


def begin(key: str) -> datetime:
    """The begin of the hour with this partition key, UTC."""
    return datetime.strptime(key, "%Y-%m-%d-%H:%M").replace(tzinfo=UTC)


def newest(clock: Clock) -> datetime:
    """The begin of the newest hour that is over."""
    return clock.now().replace(minute=0, second=0, microsecond=0) - HOUR


def hourly(start: datetime, clock: Clock, wall: Clock | None = None) -> dg.HourlyPartitionsDefinition:
    """The hours of a data directory as Dagster offers them.

    Args:
        start: begin of the first hour, UTC.
        clock: the clock in force. Under the machine's own clock the hours have no end: Dagster ends them at its now.
            Another clock is read once, here; when it has moved, the definitions have to be reloaded.
        wall: the machine's clock, by which Dagster judges what is over.

    Raises:
        Retryable: the sandbox's clock does not answer.
    """
    if isinstance(clock, WallClock):
        return dg.HourlyPartitionsDefinition(start_date=key(start), timezone="UTC")
    end = newest(clock) + HOUR
    ahead = (end - (wall or WallClock()).now()) / HOUR
    return dg.HourlyPartitionsDefinition(
        start_date=key(start), end_date=key(end), end_offset=max(0, math.ceil(ahead)), timezone="UTC"
    )
