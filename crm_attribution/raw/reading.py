"""What all streams of the sources share: the window, the count of calls, and how rows are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

import polars as pl

from crm_attribution.clock import Clock, parse_instant
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.parsed import Parsed, Refused
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session

T = TypeVar("T")

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
OVERLAP = timedelta(minutes=10)
"""Read again before the window: HubSpot's search shows a change some moments late."""

CHUNK = 1_000
"""Records stored at a time: one association call, and memory that does not grow with the portal."""


@dataclass
class Rotation:
    """Records whose associations are read again because nothing says when those change.

    Attributes:
        waiting: ids that are still to be read in this run, in their order.
        read: ids that were read.
        bare: ids of records HubSpot named no associations of, which may be archived.
    """

    waiting: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    bare: set[str] = field(default_factory=set)


@dataclass
class Extraction:
    """One stream and window: counted while it runs, logged in raw.extraction."""

    stream: str
    since: datetime | None
    window_start: datetime
    window_end: datetime
    started: datetime
    transport: Transport | None
    calls_before: int
    found: int | None = None
    floor: int = 0
    rows: int = 0
    quarantined: int = 0
    changed: int = 0
    source_total: int | None = None
    known_total: int | None = None
    facts: dict[str, int | str | float] = field(default_factory=dict)
    rotation: Rotation = field(default_factory=Rotation)

    @property
    def calls(self) -> int:
        """Calls made since it began."""
        return 0 if self.transport is None else self.transport.calls - self.calls_before

    def report(self) -> Report:
        return Report(
            rows=self.rows,
            changed=self.changed,
            facts={
                "calls": self.calls,
                "minimum calls": self.floor,
                "found": self.found or 0,
                "quarantined": self.quarantined,
                **({} if self.source_total is None else {"HubSpot counts": self.source_total}),
                **({} if self.known_total is None else {"known here": self.known_total}),
                **self.facts,
            },
        )

    def count(self, fact: str, number: int) -> None:
        """Add to a figure of the report; none is shown for nothing."""
        if number:
            self.facts[fact] = int(self.facts.get(fact, 0)) + number


@dataclass(frozen=True)
class Readings:
    """Begins and ends the readings of all streams, and writes rows that need nothing more."""

    warehouse: Warehouse
    clock: Clock

    def write(self, run: Extraction, table: str, parsed: Parsed, topic: str, key: list[str], now: datetime) -> None:
        with self.warehouse.session() as session, session.transaction():
            written = session.upsert(table, parsed.rows)
            session.journal(topic, written.select(pl.concat_str(key, separator=":"))[key[0]])
            quarantine(session, table, parsed.refused, now)
            session.resolve_quarantine(table, parsed.rows.select(pl.concat_str(key, separator=":"))[key[0]])
        run.rows += parsed.rows.height
        run.changed += written.height
        run.quarantined += len(parsed.refused)

    def begin(self, stream: str, since: datetime | None, transport: Transport | None) -> Extraction:
        """A stream's window. Its lower bound is the hour's, or where the last complete reading ended if that is
        earlier: an hour that failed or was never run is made up for by the next. A stream that was never read
        completely is read from the beginning.

        Args:
            stream: its name in raw.extraction.
            since: the hour's lower bound; None for all history.
            transport: whose calls are counted; None where files are read.
        """
        with self.warehouse.session() as session:
            ended = session.fact(f"extracted:{stream}")
        effective = None if since is None or ended is None else min(since, parse_instant(ended))
        now = self.clock.now()
        calls_before = 0 if transport is None else transport.calls
        return Extraction(stream, effective, effective or BEGINNING, now, now, transport, calls_before)

    def end_reference(self, run: Extraction, frame: pl.DataFrame, changed: pl.DataFrame, floor: int) -> Report:
        """The same for a small table that is read whole."""
        run.found = run.rows = frame.height
        run.changed, run.floor = changed.height, floor
        return self.end(run)

    def end(self, run: Extraction) -> Report:
        calls = run.calls
        row = {
            "stream": run.stream,
            "window_start": run.window_start,
            "window_end": run.window_end,
            "calls": calls,
            "floor_calls": run.floor,
            "found": run.found,
            "rows": run.rows,
            "quarantined": run.quarantined,
            "source_total": run.source_total,
            "known_total": run.known_total,
            "started": run.started,
            "finished": self.clock.now(),
        }
        with self.warehouse.session() as session, session.transaction():
            session.upsert("raw.extraction", pl.DataFrame([row], infer_schema_length=None))
            ended = session.fact(f"extracted:{run.stream}")
            if ended is None or parse_instant(ended) < run.window_end:
                session.set_fact(f"extracted:{run.stream}", run.window_end.isoformat())
            session.forget_fact(f"progress:{run.stream}")
        return run.report()


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last may be shorter."""
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def quarantine(session: Session, table: str, refused: Sequence[Refused], now: datetime) -> None:
    """Keep refused rows with their reasons."""
    if refused:
        rows = [{"key": row.key, "reasons": row.reasons, "row": row.row, "source": row.source} for row in refused]
        session.quarantine(table, pl.DataFrame(rows), observed_at=now)
