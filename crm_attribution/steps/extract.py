"""HubSpot and click sources into `raw.*`. HTTP first, then a short session: no connection is held while waiting.

A partition fixes only the lower bound of the search (HubSpot knows a record's current modified time only), and a
stream whose last complete reading ended earlier begins there; the upper bound is the run's now. Whatever is already
stored with the same modified time is not read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from math import ceil
from typing import Any

import polars as pl

from crm_attribution.hubspot import parse
from crm_attribution.steps.reading import BEGINNING, CHUNK, OVERLAP, Extraction, chunks, quarantine
from crm_attribution.steps.reference import ReferenceReader
from crm_attribution.steps.report import Report
from crm_attribution.steps.streams import StreamReader
from crm_attribution.warehouse.session import Session

PAIRS = {"contacts": ["companies"], "companies": [], "deals": ["contacts", "companies"]}
"""Which associations are read from which side."""

_BATCH = 50
_LIST = 50
_HISTORY_IDENTITY = ["object_type", "object_id", "property", "timestamp", "value"]


class Extractor(ReferenceReader, StreamReader):
    """Everything that is read from the sources; records here, the rest in the classes above it."""

    def objects(self, object_type: str, since: datetime | None) -> Report:
        """Contacts, companies or deals changed since (None: all), with history, merges and associations."""
        run = self.begin(object_type, since)
        with self.warehouse.session() as session:
            home = session.scalar("SELECT company_currency FROM raw.account")
            known = session.scalar(f"SELECT count(*) FROM {parse.TABLE[object_type]}") or 0
        for chunk in chunks(self._results(object_type, run.since, known, run), CHUNK):
            self._store(object_type, chunk, home, run)
        run.floor += sum(ceil(len(run.seen) / 1000) for _ in PAIRS[object_type])
        return self.end(run)

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
        for chunk in chunks(chain.from_iterable(feed), CHUNK):
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
            quarantine(session, table, records.refused + history.refused, now)
            session.resolve_quarantine(table, records.rows["id"])
        run.rows += records.rows.height
        run.changed += len(dirty)
        run.quarantined += len(records.refused) + len(history.refused)
        run.seen |= accepted


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
