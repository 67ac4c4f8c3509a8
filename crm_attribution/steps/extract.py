"""HubSpot and click sources into `raw.*`. HTTP first, then a short session: no connection is held while waiting.

A partition fixes only the lower bound of the search (HubSpot knows a record's current modified time only), and a
stream whose last complete reading ended earlier begins there; the upper bound is the run's now. Whatever is already
stored with the same modified time is not read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from crm_attribution.clicks.api import ClickApi
from crm_attribution.clicks.drop_folder import DropFile, Unreadable, archive, read_folder
from crm_attribution.clicks.parse import clicks as parse_clicks
from crm_attribution.clock import Clock, parse_instant
from crm_attribution.hubspot import parse
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.parse import Parsed, Refused
from crm_attribution.mapping import Mapping as Rules
from crm_attribution.steps.guards import check_portal
from crm_attribution.steps.report import Report
from crm_attribution.transport import Transport
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

T = TypeVar("T")

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
OVERLAP = timedelta(minutes=10)
"""Read again before the window: HubSpot's search shows a change some moments late."""

CHUNK = 1_000
"""Records stored at a time: one association call, and memory that does not grow with the portal."""

PAIRS = {"contacts": ["companies"], "companies": [], "deals": ["contacts", "companies"]}
"""Which associations are read from which side."""

_BATCH = 50
_LIST = 50
_PAGE = 100
_SUBMISSIONS = 50
_CLICKS = 1_000


@dataclass
class Extraction:
    """One stream and window: counted while it runs, logged in raw.extraction."""

    stream: str
    since: datetime | None
    window_start: datetime
    window_end: datetime
    started: datetime
    transport: Transport
    calls_before: int
    found: int | None = None
    floor: int = 0
    rows: int = 0
    quarantined: int = 0
    changed: int = 0
    seen: set[str] = field(default_factory=set)

    def report(self, calls: int) -> Report:
        return Report(
            rows=self.rows,
            changed=self.changed,
            facts={
                "calls": calls,
                "least possible calls": self.floor,
                "found": self.found or 0,
                "quarantined": self.quarantined,
            },
        )


@dataclass(frozen=True)
class Extractor:
    """The clients, the warehouse and the rules that every stream needs."""

    warehouse: Warehouse
    hubspot: HubSpotClient
    clock: Clock
    rules: Rules

    def objects(self, object_type: str, since: datetime | None) -> Report:
        """Contacts, companies or deals changed since (None: all), with history, merges and associations."""
        run = self._begin(object_type, since)
        with self.warehouse.session() as session:
            home = session.scalar("SELECT company_currency FROM raw.account")
            known = session.scalar(f"SELECT count(*) FROM {parse.TABLE[object_type]}") or 0
        for chunk in _chunks(self._results(object_type, run.since, known, run), CHUNK):
            self._store(object_type, chunk, home, run)
        run.floor += sum(ceil(len(run.seen) / 1000) for _ in PAIRS[object_type])
        return self._end(run)

    def _results(
        self, object_type: str, since: datetime | None, known: int, run: Extraction
    ) -> Iterator[Mapping[str, Any]]:
        """Records with history: by list for a first load or where that costs less, else by search and batch read."""
        copied, tracked = self._properties(object_type)
        if since is None:
            yield from self._listed(object_type, copied, tracked, run)
            return
        feed = self.hubspot.changed(object_type, since - OVERLAP, run.window_end)
        run.found = feed.total
        run.floor = max(1, ceil(feed.total / 200))
        if feed.total > CHUNK and ceil(max(known, feed.total) / _LIST) < feed.total / 200 + ceil(feed.total / _BATCH):
            yield from self._listed(object_type, copied, tracked, run)
            return
        for chunk in _chunks(chain.from_iterable(feed), CHUNK):
            new = self._not_stored(object_type, {found.id: found.modified for found in chunk})
            run.floor += ceil(len(new) / _BATCH)
            for result in self.hubspot.batch_pages(object_type, new, copied, tracked):
                yield from result.records

    def _listed(
        self, object_type: str, copied: list[str], tracked: list[str], run: Extraction
    ) -> Iterator[Mapping[str, Any]]:
        total = 0
        for page in self.hubspot.list_all(object_type, copied, tracked):
            total += len(page)
            yield from page
        run.found = total
        run.floor = max(1, ceil(total / _LIST))

    def _properties(self, object_type: str) -> tuple[list[str], list[str]]:
        stages = [f"hs_lifecyclestage_{stage}_date" for stage in self.rules.lifecycle.stages]
        became = stages if object_type != "deals" else []
        configured = [self.rules.consent.property] if object_type == "contacts" else []
        copied = [
            *parse.TYPED[object_type],
            *parse.NEEDED[object_type],
            *getattr(self.rules.properties, object_type),
            *became,
            *configured,
        ]
        tracked = [*parse.TRACKED[object_type], *getattr(self.rules.history, object_type)]
        return list(dict.fromkeys(copied)), list(dict.fromkeys(tracked))

    def _not_stored(self, object_type: str, found: Mapping[str, datetime]) -> list[str]:
        """The found ids whose stored copy is older or missing."""
        frame = pl.DataFrame(
            {"id": list(found), "modified_at": list(found.values())},
            schema={"id": pl.String, "modified_at": pl.Datetime("us", "UTC")},
        )
        table = parse.TABLE[object_type]
        with self.warehouse.session() as session:
            new = session.query(
                f"SELECT f.id FROM found f ANTI JOIN {table} t ON t.id = f.id AND t.modified_at >= f.modified_at",
                found=frame,
            )
        return sorted(new["id"].to_list(), key=lambda key: (len(key), key))

    def _store(self, object_type: str, results: Sequence[Mapping[str, Any]], home: str | None, run: Extraction) -> None:
        now = self.clock.now()
        records = parse.records(object_type, results, home_currency=home, extracted_at=now)
        accepted = set(records.rows["id"])
        kept = [result for result in results if str(result["id"]) in accepted]
        history = parse.history(object_type, kept, extracted_at=now)
        merges = parse.merges(object_type, kept)
        ids = records.rows["id"].to_list()
        related = [
            parse.associations(object_type, other, self.hubspot.associations(object_type, other, ids))
            for other in PAIRS[object_type]
            if ids
        ]
        table = parse.TABLE[object_type]
        with self.warehouse.session() as session, session.transaction():
            first_read = _not_in(session, table, ids)
            written = session.upsert(table, records.rows, newer="modified_at")["id"]
            told = session.append("raw.property_history", history.rows, identity=_HISTORY_IDENTITY)["object_id"]
            absorbed = session.upsert("raw.merge", merges)
            joined = [
                _journal_associations(session, object_type, other, ids, frame, first_read, now)
                for other, frame in zip(PAIRS[object_type], related, strict=False)
            ]
            dirty = {*written, *told, *absorbed["absorbed_id"], *(id_ for ids_ in joined for id_ in ids_)}
            if absorbed.height:
                dirty |= set(merges["survivor_id"])
            session.journal(object_type, dirty)
            _quarantine(session, table, records.refused + history.refused, now)
            session.resolve_quarantine(table, records.rows["id"])
        run.rows += records.rows.height
        run.changed += len(dirty)
        run.quarantined += len(records.refused) + len(history.refused)
        run.seen |= accepted

    # --- reference data

    def account(self) -> Report:
        """The portal itself: its id, time zone and home currency. The first thing a run reads.

        Raises:
            ConfigurationError: when the data directory belongs to another portal.
        """
        run = self._begin("account", None)
        frame = parse.account(self.hubspot.account_details())
        with self.warehouse.session() as session, session.transaction():
            check_portal(session, frame["portal_id"].item())
            changed = session.replace("raw.account", frame, None)
            session.journal("account_details", ["*"] if changed.height else [])
        return self._end_reference(run, frame, changed, 1)

    def owners(self) -> Report:
        """All owners, archived ones included."""
        run = self._begin("owners", None)
        gone, active = self.hubspot.owners(archived=True), self.hubspot.owners()
        frame = parse.owners([*gone, *active])
        with self.warehouse.session() as session, session.transaction():
            changed = session.upsert("raw.owner", frame)
        return self._end_reference(run, frame, changed, sum(max(1, ceil(len(rows) / _PAGE)) for rows in (gone, active)))

    def stages(self) -> Report:
        """All deal stages of all pipelines."""
        run = self._begin("pipeline_stages", None)
        frame = parse.stages("deals", self.hubspot.pipelines("deals"))
        with self.warehouse.session() as session, session.transaction():
            changed = session.upsert("raw.pipeline_stage", frame)
            session.journal("pipeline_stage", changed["stage_id"])
        return self._end_reference(run, frame, changed, 1)

    def forms(self) -> Report:
        """All forms."""
        run = self._begin("forms", None)
        frame = parse.forms(self.hubspot.forms())
        with self.warehouse.session() as session, session.transaction():
            changed = session.upsert("raw.form", frame)
        return self._end_reference(run, frame, changed, max(1, ceil(frame.height / _PAGE)))

    def submissions(self, since: datetime | None) -> Report:
        """Submissions of every known form, back to the newest stored one (less the overlap) or to `since`."""
        run = self._begin("form_submissions", since)
        with self.warehouse.session() as session:
            newest = session.query(
                "SELECT f.id, max(s.submitted_at) AS newest FROM raw.form f"
                " LEFT JOIN raw.form_submission s ON s.form_id = f.id GROUP BY f.id ORDER BY f.id"
            )
        for form_id, stored in newest.iter_rows():
            bound = None if stored is None else min(filter(None, [stored, run.since])) - OVERLAP
            listed = 0
            for page in _chunks(chain.from_iterable(self.hubspot.form_submissions(form_id, bound)), CHUNK):
                now = self.clock.now()
                listed += len(page)
                parsed = parse.submissions(form_id, page, extracted_at=now)
                self._write(run, "raw.form_submission", parsed, "form_submission", ["form_id", "conversion_id"], now)
            run.found = (run.found or 0) + listed
            run.floor += max(1, ceil(listed / _SUBMISSIONS))
        return self._end(run)

    # --- clicks

    def clicks(self, api: ClickApi | None, since: datetime | None, inbox: Path) -> Report:
        """Link clicks from the click API (where configured) and the drop folder `inbox/clicks`."""
        run = self._begin("link_clicks", since)
        if api is not None:
            bound = None if run.since is None else run.since - OVERLAP
            run.transport, run.calls_before, run.found = api.transport, api.transport.calls, 0
            for page in api.clicks(bound):
                named = [(f"click API row {n}", row) for n, row in enumerate(page, run.found + 1)]
                run.found += len(page)
                now = self.clock.now()
                parsed = parse_clicks(named, extracted_at=now)
                self._write(run, "raw.link_click", parsed, "link_click", ["click_id"], now)
            run.floor = max(1, ceil(run.found / _CLICKS))
        for file in read_folder(inbox / "clicks"):
            self._drop_file(run, file, inbox)
        return self._end(run)

    def _drop_file(self, run: Extraction, file: DropFile | Unreadable, inbox: Path) -> None:
        now = self.clock.now()
        if isinstance(file, Unreadable):
            refused = Refused(file.path.name, f"file:{file.reason}", "{}", file.path.name)
            with self.warehouse.session() as session, session.transaction():
                _quarantine(session, "raw.link_click", [refused], now)
            run.quarantined += 1
        else:
            good = [(f"{row.file} row {row.number}", row.values) for row in file.rows if row.problem is None]
            parsed = parse_clicks(good, extracted_at=now)
            parsed.refused += [
                Refused(f"{row.file} row {row.number}", f"row:{row.problem}", _json_text(row.raw), row.file)
                for row in file.rows
                if row.problem is not None
            ]
            self._write(run, "raw.link_click", parsed, "link_click", ["click_id"], now)
        archive(file, inbox / "archive" / "clicks")

    # --- inside

    def _write(self, run: Extraction, table: str, parsed: Parsed, topic: str, key: list[str], now: datetime) -> None:
        with self.warehouse.session() as session, session.transaction():
            written = session.upsert(table, parsed.rows)
            session.journal(topic, written.select(pl.concat_str(key, separator=":"))[key[0]])
            _quarantine(session, table, parsed.refused, now)
            session.resolve_quarantine(table, parsed.rows.select(pl.concat_str(key, separator=":"))[key[0]])
        run.rows += parsed.rows.height
        run.changed += written.height
        run.quarantined += len(parsed.refused)

    def _begin(self, stream: str, since: datetime | None) -> Extraction:
        """A stream's window. Its lower bound is the hour's, or where the last complete reading ended if that is
        earlier: an hour that failed or was never run is made up for by the next. A stream that was never read
        completely is read from the beginning."""
        with self.warehouse.session() as session:
            ended = session.fact(f"extracted:{stream}")
        effective = None if since is None or ended is None else min(since, parse_instant(ended))
        now = self.clock.now()
        transport = self.hubspot.transport
        return Extraction(stream, effective, effective or BEGINNING, now, now, transport, transport.calls)

    def _end_reference(self, run: Extraction, frame: pl.DataFrame, changed: pl.DataFrame, floor: int) -> Report:
        """The same for a small table that is read whole."""
        run.found = run.rows = frame.height
        run.changed, run.floor = changed.height, floor
        return self._end(run)

    def _end(self, run: Extraction) -> Report:
        calls = run.transport.calls - run.calls_before
        row = {
            "stream": run.stream,
            "window_start": run.window_start,
            "window_end": run.window_end,
            "calls": calls,
            "floor_calls": run.floor,
            "found": run.found,
            "rows": run.rows,
            "quarantined": run.quarantined,
            "started": run.started,
            "finished": self.clock.now(),
        }
        with self.warehouse.session() as session, session.transaction():
            session.upsert("raw.extraction", pl.DataFrame([row], infer_schema_length=None))
            ended = session.fact(f"extracted:{run.stream}")
            if ended is None or parse_instant(ended) < run.window_end:
                session.set_fact(f"extracted:{run.stream}", run.window_end.isoformat())
        return run.report(calls)


_HISTORY_IDENTITY = ["object_type", "object_id", "property", "timestamp", "value"]


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def _not_in(session: Session, table: str, ids: Sequence[str]) -> set[str]:
    """The ids the table has no row for yet."""
    frame = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})
    return set(session.query(f"SELECT id FROM ids ANTI JOIN {table} USING (id)", ids=frame)["id"])


def _journal_associations(
    session: Session,
    from_type: str,
    to_type: str,
    ids: Sequence[str],
    current: pl.DataFrame,
    first_read: set[str],
    now: datetime,
) -> set[str]:
    """Open what is new, close what is gone, keep what holds. Returns the records whose associations changed.

    HubSpot does not date associations: what came with a record's first read holds from the beginning.
    """
    scope = pl.DataFrame({"from_id": list(ids)}, schema={"from_id": pl.String}).with_columns(
        from_type=pl.lit(from_type), to_type=pl.lit(to_type)
    )
    stored = session.read_keys("raw.association", scope)
    open_rows = stored.filter(pl.col("valid_to").is_null())
    pair = ["from_id", "to_id"]
    since = pl.when(pl.col("from_id").is_in(list(first_read))).then(pl.lit(BEGINNING)).otherwise(pl.lit(now))
    held = current.join(open_rows.select(*pair, "valid_from"), on=pair, how="left").with_columns(
        valid_from=pl.coalesce("valid_from", since.dt.cast_time_unit("us")),
        valid_to=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    gone = open_rows.join(current, on=pair, how="anti").with_columns(valid_to=pl.lit(now))
    closed = stored.filter(pl.col("valid_to").is_not_null())
    columns = stored.columns
    rows = pl.concat([held.select(columns), gone.select(columns), closed], how="vertical_relaxed")
    changed = session.replace("raw.association", rows, scope)
    return set(changed["from_id"])


def _quarantine(session: Session, table: str, refused: Sequence[Refused], now: datetime) -> None:
    if refused:
        rows = [{"key": row.key, "reasons": row.reasons, "row": row.row, "source": row.source} for row in refused]
        session.quarantine(table, pl.DataFrame(rows), observed_at=now)


def _json_text(raw: str | None) -> str:
    return json.dumps({"line": raw})
