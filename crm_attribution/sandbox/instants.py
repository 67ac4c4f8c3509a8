"""Instants as epoch milliseconds: what HubSpot stores and what the sandbox compares."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

SECOND = 1000
MINUTE_MS = 60 * SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR


def to_ms(text: str) -> int:
    """An ISO 8601 instant; a bare date means 00:00Z, a missing offset means UTC.

    Raises:
        ValueError: when the text is not ISO 8601.
    """
    moment = datetime.fromisoformat(text.strip())
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return int(moment.replace(microsecond=0).timestamp()) * SECOND + moment.microsecond // 1000


@lru_cache(maxsize=65536)
def iso(ms: int) -> str:
    """The instant as HubSpot writes it: UTC, milliseconds only where they are not zero."""
    seconds, millis = divmod(ms, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


def property_ms(value: str | None) -> int | None:
    """A date or datetime property's value (epoch milliseconds or ISO 8601), None where it is neither."""
    if not value:
        return None
    if value.removeprefix("-").isdecimal():
        return int(value)
    try:
        return to_ms(value)
    except ValueError:
        return None
