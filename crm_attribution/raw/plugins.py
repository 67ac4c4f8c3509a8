"""The sources other than HubSpot: rows of their APIs and of the files in their drop folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path

import polars as pl

from crm_attribution.clicks.drop_folder import DropFile, Unreadable, archive, read_folder
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.parsed import Parsed, Refused
from crm_attribution.raw.reading import BEGINNING, OVERLAP, Extraction, Readings, StreamReport, quarantine
from crm_attribution.raw.tombstones import tombstones
from crm_attribution.sources.base import FUTURE, Source, place_of
from crm_attribution.sources.restated import Restated, latest


@dataclass(frozen=True)
class SourceReader:
    """Reads any source of `sources/`."""

    readings: Readings
    inbox: Path

    def read(self, source: Source, transport: Transport | None, since: datetime | None) -> StreamReport:
        """Rows from the source's API, and from the files in its drop folder, which are archived then.

        Args:
            source: what is read.
            transport: to its API; None where it has none, or none is configured.
            since: the hour's lower bound; None for all history.
        """
        run = self.readings.begin(source.name, since, transport)
        if transport is not None:
            bound = None if run.since is None else run.since - OVERLAP
            run.found = 0
            for page in source.pages(transport, bound):
                named = [(f"{source.name} API row {n}", row) for n, row in enumerate(page, run.found + 1)]
                run.found += len(page)
                now = self.readings.clock.now()
                self._write(run, source, source.parse(named, extracted_at=now), now)
            run.floor = max(1, ceil(run.found / source.page_size))
        for file in read_folder(self.inbox / source.folder):
            self._file(run, source, file)
        return self.readings.end(run)

    def _write(self, run: Extraction, source: Source, parsed: Parsed, now: datetime) -> None:
        """Store rows, without those of an erased contact that a late page or a stale file still has."""
        if source.restated is not None:
            self._restate(run, source, source.restated, parsed, now)
            return
        kept = self._not_erased(run, source, parsed.rows)
        key = list(source.contract.key)
        if source.received_column is not None:
            with self.readings.warehouse.session() as session:
                stored = session.read_keys(source.table, kept.select(key))
            logged = [pl.lit(now).dt.cast_time_unit("us").alias(c.name) for c in source.contract.columns if c.log]
            kept = source.one_of_each(pl.concat([stored.with_columns(logged), kept]))
        self.readings.write(run, source.table, Parsed(kept, parsed.refused), key, now)

    def _not_erased(self, run: Extraction, source: Source, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows without those of erased contacts."""
        if source.owner_column is None:
            return rows
        owner = pl.col(source.owner_column)
        with self.readings.warehouse.session() as session:
            erased = tombstones(session, "contacts", rows[source.owner_column].drop_nulls())
        kept = rows.filter(~owner.is_in(erased) | owner.is_null())
        run.count("rows of erased contacts left out", rows.height - kept.height)
        return kept

    def _restate(self, run: Extraction, source: Source, restated: Restated, parsed: Parsed, now: datetime) -> None:
        """Store parts of a table as they were told last, and what was refused of them."""
        part = list(restated.part)
        parsed = Parsed(self._not_erased(run, source, parsed.rows), parsed.refused)
        parts = parsed.rows.select(part).unique()
        with self.readings.warehouse.session() as session:
            outcome = latest(source.contract, restated, session.read_keys(source.table, parts), parsed.rows)
        won, lost = (tuple(place_of(row) for row in some.iter_rows()) for some in (outcome.won, outcome.lost))
        refused = [row for row in parsed.refused if not row.key.startswith(lost)]
        with self.readings.warehouse.session() as session, session.transaction():
            written = session[source.table].replace(outcome.rows, parts)
            mended = [key for key in session.quarantine.waiting(source.table) if key.startswith(won)]
            session.quarantine.resolve(source.table, pl.Series(mended, dtype=pl.String))
            quarantine(session, source.table, refused, now)
        run.rows += parsed.rows.height
        run.changed += written.select(source.contract.key).unique().height
        run.quarantined += len(refused)
        run.count("parts left as they were told later", outcome.lost.height)

    def _file(self, run: Extraction, source: Source, file: DropFile | Unreadable) -> None:
        now = self.readings.clock.now()
        known = [column.name for column in source.contract.columns if not column.log]
        if isinstance(file, DropFile) and file.header and not {*file.header} & {*known}:
            file = Unreadable(file.path, f"no column of its first line is known; name some of {', '.join(known)}")
        if isinstance(file, Unreadable):
            refused = Refused(file.path.name, f"file:{file.reason}", "{}", file.path.name)
            with self.readings.warehouse.session() as session, session.transaction():
                quarantine(session, source.table, [refused], now)
            run.quarantined += 1
        else:
            good = [(f"{row.file} row {row.number}", row.values) for row in file.rows if row.problem is None]
            modified = BEGINNING + timedelta(microseconds=file.modified_ns // 1_000)
            told_at = modified if modified <= now + FUTURE else now  # a file of another clock than the one in force
            parsed = source.parse(good, extracted_at=now, told_at=told_at)
            parsed.refused += [
                Refused(f"{row.file} row {row.number}", f"row:{row.problem}", json.dumps({"line": row.raw}), row.file)
                for row in file.rows
                if row.problem is not None
            ]
            self._write(run, source, parsed, now)
        archive(file, self.inbox / "archive" / source.folder)
