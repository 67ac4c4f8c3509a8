"""The lines of a portal log, and the instants on them.

Instants are epoch milliseconds (integers) everywhere in this package; they become text only here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Line = dict[str, object]
Ref = tuple[str, str]  # (object type, id)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str) -> int:
    """ISO 8601 as epoch milliseconds; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def iso(at: int) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`, with milliseconds only where they are not zero."""
    seconds, millis = divmod(at, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


def whole(at: float) -> int:
    """The full second at or before an instant: people and forms are recorded in seconds."""
    return int(at) // SECOND * SECOND


def given(fields: dict[str, object | None]) -> Line:
    """The fields that have a value: an absent value is an absent key."""
    return {key: value for key, value in fields.items() if value is not None}


class Log:
    """Lines in the order they were added; they are sorted by `at` later."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, Line]] = []

    def add(self, at: int, op: str, **fields: object) -> None:
        self.lines.append((at, {"at": iso(at), "op": op, **fields}))

    def create(self, at: int, ref: Ref, source: str, properties: Line) -> None:
        self.add(at, "create", object=ref[0], id=ref[1], source=source, properties=properties)

    def update(self, at: int, ref: Ref, source: str, properties: Line) -> None:
        self.add(at, "update", object=ref[0], id=ref[1], source=source, properties=properties)

    def associate(self, at: int, one: Ref, other: Ref, *, primary: bool = False, label: str | None = None) -> None:
        extra = given({"primary": True if primary else None, "label": label})
        self.add(at, "associate", **{"from": list(one), "to": list(other)}, **extra)

    def dissociate(self, at: int, one: Ref, other: Ref) -> None:
        self.add(at, "dissociate", **{"from": list(one), "to": list(other)})

    def merge(self, at: int, kind: str, primary: str, merged: str, into: str | None = None) -> None:
        self.add(at, "merge", **given({"object": kind, "primary": primary, "merged": merged, "into": into}))

    def state(self, at: int, op: str, ref: Ref) -> None:
        """archive, restore or privacy_delete."""
        self.add(at, op, object=ref[0], id=ref[1])

    def until(self, end: int) -> list[tuple[int, Line]]:
        """The lines up to the end, in order of time; the order inside one instant is kept."""
        return sorted((pair for pair in self.lines if pair[0] <= end), key=lambda pair: pair[0])
