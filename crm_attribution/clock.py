"""The injected now. The only module that reads the machine's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Protocol


class Clock(Protocol):
    """Where every module gets its time from."""

    @property
    def is_wall(self) -> bool:
        """Whether it goes as the rest of the world's clocks do."""
        ...

    def now(self) -> datetime:
        """The current time, timezone-aware, UTC."""
        ...


class WallClock:
    """The machine's own clock."""

    is_wall = True

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class FixedClock:
    """Stands still at `instant`."""

    instant: datetime
    is_wall: ClassVar[bool] = False

    def now(self) -> datetime:
        return self.instant


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 timestamp. A bare date means 00:00Z; a missing offset means UTC.

    Raises:
        ValueError: when the text is not ISO 8601, or a timestamp before the year 1 or after 9999.
    """
    moment = datetime.fromisoformat(text.strip())
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"not a timestamp of the years 1 to 9999: {text}") from error


def iso(moment: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`, with milliseconds only where they are not zero."""
    moment = moment.astimezone(UTC)
    text = moment.replace(tzinfo=None).isoformat(timespec="seconds")
    millis = moment.microsecond // 1000
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


def from_millis(value: int | str) -> datetime:
    """Convert epoch milliseconds to a timestamp, exactly.

    Raises:
        ValueError: when it is not a number, or a timestamp before the year 1 or after 9999.
    """
    try:
        seconds, millis = divmod(int(value), 1000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=millis * 1000)
    except (OverflowError, OSError) as error:
        raise ValueError(f"not a timestamp of the years 1 to 9999: {value}") from error


def to_millis(moment: datetime) -> int:
    """Convert a timestamp to epoch milliseconds, exactly."""
    return int(moment.astimezone(UTC).replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000
