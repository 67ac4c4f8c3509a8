"""What all streams of the sources share: the window, the count of calls, and how rows are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

import polars as pl

from crm_attribution.clock import Clock
from crm_attribution.findings import Finding
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.parsed import Parsed, Refused
from crm_attribution.hubspot.refreshes import Counted
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.report import CALLS, MINIMUM_CALLS, Report
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import Figures

T = TypeVar("T")

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
OVERLAP = timedelta(minutes=10)
"""Read again before the window: HubSpot's search shows a change some moments late."""

NOT_FOUND = 404
"""Status of what a source does not have."""

CHUNK = 1_000
"""Records stored at a time: one association call, and memory that does not grow with the portal."""


@dataclass
class Rotation:
    """Records whose associations are read again, because HubSpot does not report when those change.

    Attributes:
        waiting: ids that are still to be read in this run, in their order.
        read: ids that were read.
        bare: ids of records HubSpot named no associations of, which may be archived.
    """

    waiting: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    bare: set[int] = field(default_factory=set)


@dataclass
class StreamReport(Report):
    """What became of one reading of a stream.

    Attributes:
        calls: HTTP calls made; None where nothing was read.
        floor: the minimum calls the source's page sizes allow.
        found: records the source named.
        quarantined: rows refused.
        source_total: unarchived records as HubSpot counts them.
        known_total: how many of these are known here, those in quarantine included.
        unaccounted: ranges of ids in which the two still differ; empty where none is known.
        unknown_properties: configured properties the portal does not have; None where they were not compared.
        not_read: why the stream could not be read, and what to do.
        findings: what was found out about the installation; None where it was not looked at.
        refreshes: how often HubSpot's OAuth token was renewed of late; None where that was not looked at.
    """

    calls: int | None = None
    floor: int = 0
    found: int = 0
    quarantined: int = 0
    source_total: int | None = None
    known_total: int | None = None
    unaccounted: str = ""
    unknown_properties: list[str] | None = None
    not_read: str | None = None
    findings: list[Finding] | None = None
    refreshes: Counted | None = None

    def shown(self) -> Figures:
        unknown = self.unknown_properties
        given: dict[str, int | str | float | None] = {
            CALLS: self.calls,
            MINIMUM_CALLS: None if self.calls is None else self.floor,
            "found": None if self.calls is None else self.found,
            "quarantined": None if self.calls is None else self.quarantined,
            "HubSpot counts": self.source_total,
            "known here": self.known_total,
            "ids not accounted for": self.unaccounted or None,
            "properties the portal does not have": None if unknown is None else ", ".join(unknown) or "none",
            "not read": self.not_read,
        }
        return {name: value for name, value in given.items() if value is not None} | self.figures

    def plus(self, other: StreamReport) -> StreamReport:
        """Combine two extractions of one run: figures add up, texts and totals are the later ones."""
        figures = dict(self.figures)
        for name, value in other.figures.items():
            before = figures.get(name)
            both = isinstance(before, int) and isinstance(value, int)
            figures[name] = before + value if both else value  # type: ignore[operator]
        return StreamReport(
            rows=self.rows + other.rows,
            changed=self.changed + other.changed,
            figures=figures,
            calls=(self.calls or 0) + (other.calls or 0),
            floor=self.floor + other.floor,
            found=self.found + other.found,
            quarantined=self.quarantined + other.quarantined,
            source_total=self.source_total if other.source_total is None else other.source_total,
            known_total=self.known_total if other.known_total is None else other.known_total,
            unaccounted=other.unaccounted or self.unaccounted,
        )


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
    unaccounted: str = ""
    figures: Figures = field(default_factory=dict)
    rotation: Rotation = field(default_factory=Rotation)

    @property
    def calls(self) -> int:
        """Calls made since it began."""
        return 0 if self.transport is None else self.transport.calls - self.calls_before

    def report(self) -> StreamReport:
        return StreamReport(
            rows=self.rows,
            changed=self.changed,
            figures=self.figures,
            calls=self.calls,
            floor=self.floor,
            found=self.found or 0,
            quarantined=self.quarantined,
            source_total=self.source_total,
            known_total=self.known_total,
            unaccounted=self.unaccounted,
        )

    def count(self, figure: str, number: int) -> None:
        """Add to a figure of the report; none is shown for nothing."""
        if number:
            self.figures[figure] = int(self.figures.get(figure, 0)) + number


@dataclass(frozen=True)
class Readings:
    """Begins and ends the readings of all streams, and writes rows that need nothing more."""

    warehouse: Warehouse
    clock: Clock

    def write(self, run: Extraction, table: str, parsed: Parsed, key: list[str], now: datetime) -> None:
        with self.warehouse.session() as session, session.transaction():
            written = session[table].upsert(parsed.rows)
            session.quarantine.resolve(table, parsed.rows.select(pl.concat_str(key, separator=":"))[key[0]])
            quarantine(session, table, parsed.refused, now)
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
            ended = session.state.extracted[stream]
        effective = None if since is None or ended is None else min(since, ended)
        now = self.clock.now()
        calls_before = 0 if transport is None else transport.calls
        return Extraction(stream, effective, effective or BEGINNING, now, now, transport, calls_before)

    def end_reference(self, run: Extraction, frame: pl.DataFrame, changed: pl.DataFrame, floor: int) -> StreamReport:
        """The same for a small table that is read whole."""
        run.found = run.rows = frame.height
        run.changed, run.floor = changed.height, floor
        return self.end(run)

    def end(self, run: Extraction) -> StreamReport:
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
            session["raw.extraction"].upsert(pl.DataFrame([row], infer_schema_length=None))
            ended = session.state.extracted[run.stream]
            if ended is None or ended < run.window_end:
                session.state.extracted[run.stream] = run.window_end
            del session.state.progress[run.stream]
        return run.report()


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last may be shorter."""
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def quarantine(session: Session, table: str, refused: Sequence[Refused], now: datetime) -> None:
    """Keep refused rows, and fields that could not be read, with their reasons."""
    if refused:
        session.quarantine.add(table, pl.DataFrame([vars(row) for row in refused]), observed_at=now)
