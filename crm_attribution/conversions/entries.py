"""What the delivery ledger holds: rows that are due, in flight, or were sent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from crm_attribution.warehouse.session import Session

CONVERSION, ATTEMPT = "conversions.conversion", "delivery.attempt"


SENT = ("in_flight", "retry", "unknown", "accepted", "processed", "rejected")


def due(session: Session, destination: str, before: datetime, now: datetime) -> pl.DataFrame:
    """Rows that might be sent, oldest fact first: planned for before the window's end, or to be retried by now."""
    return session.read(
        CONVERSION,
        "destination = ? AND ready_at < ? AND (state IN ('pending', 'held')"
        " OR (state = 'retry' AND (next_attempt_at IS NULL OR next_attempt_at <= ?)))",
        [destination, before, now],
    ).sort("occurred_at", "conversion_id")


def rows(session: Session, conversion_ids: Iterable[str]) -> pl.DataFrame:
    """The rows of some conversions, oldest fact first."""
    return session.read_keys(CONVERSION, keys_of(conversion_ids)).sort("occurred_at", "conversion_id")


def in_flight(session: Session, destination: str) -> pl.DataFrame:
    """Rows whose sender has not recorded an answer."""
    return session.read(CONVERSION, "destination = ? AND state = 'in_flight'", [destination])


def sent_by_hour(session: Session, destination: str, since: datetime) -> dict[tuple[str, datetime], int]:
    """How many conversions of each milestone were sent, by the hour they were ready in."""
    frame = session.query(
        "SELECT milestone, date_trunc('hour', ready_at) AS hour, count(*) AS n FROM conversions.conversion"
        " WHERE destination = ? AND ready_at >= ? AND state IN (SELECT unnest(?)) GROUP BY ALL",
        [destination, since, list(SENT)],
    )
    return {(milestone, hour): count for milestone, hour, count in frame.iter_rows()}


def counts(session: Session, destination: str | None = None) -> pl.DataFrame:
    """Rows by destination, state and reason."""
    return session.query(
        "SELECT destination, state, reason, count(*) AS conversions FROM conversions.conversion"
        " WHERE coalesce(destination = ?, true) GROUP BY ALL ORDER BY ALL",
        [destination],
    )


def keys_of(conversion_ids: Iterable[str]) -> pl.DataFrame:
    return pl.DataFrame({"conversion_id": sorted(set(conversion_ids))}, schema={"conversion_id": pl.String})
