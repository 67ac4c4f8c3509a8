"""HubSpot's records into `raw.*`. HTTP first, then a short session: no connection is held while waiting.

A partition fixes only the lower bound of the search (HubSpot knows a record's current modified time only), and a
stream whose last complete reading ended earlier begins there; the upper bound is the run's now. Whatever is already
stored with the same modified time is not read again. An extraction that dies resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.clock import iso, parse_instant
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.cost import LIST_PAGE, SEARCH_PAGE, cheaper, history_calls, list_calls, pages
from crm_attribution.hubspot.search import Changed, Walk
from crm_attribution.mapping import Rules
from crm_attribution.raw.completeness import Completeness
from crm_attribution.raw.reading import CHUNK, OVERLAP, Extraction, Readings, StreamReport, chunks
from crm_attribution.raw.records import Record, RecordStore, Wanted, wanted_of
from crm_attribution.raw.rotation import AssociationRotation


@dataclass(frozen=True)
class Progress:
    """How far a reading of records has come, kept with what it stored.

    Attributes:
        signature: of the properties it reads; with other properties it starts over.
        window_end: the upper bound it had.
        archived: whether it lists the archived records by now.
        after: the listing's cursor; None for a walk through changes.
        walk: the walk; None for a listing.
    """

    signature: str
    window_end: datetime
    archived: bool = False
    after: str | None = None
    walk: Walk | None = None

    def walked_to(self, last_id: int) -> Progress:
        """The same walk, further on."""
        if self.walk is None:
            raise ValueError("a listing does not walk by ids")
        return replace(self, walk=replace(self.walk, last_id=last_id))

    def as_json(self) -> Mapping[str, Any]:
        walk = self.walk and [self.walk.since and iso(self.walk.since), iso(self.walk.until), self.walk.last_id]
        return {
            "signature": self.signature,
            "window_end": self.window_end.isoformat(),
            "archived": self.archived,
            "after": self.after,
            "walk": walk,
        }

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Progress:
        walk = given["walk"]
        if walk is not None:
            since = None if walk[0] is None else parse_instant(walk[0])
            walk = Walk(since, parse_instant(walk[1]), walk[2])
        return cls(given["signature"], parse_instant(given["window_end"]), given["archived"], given["after"], walk)


@dataclass(frozen=True)
class RecordReader:
    """Reads the records of an object type: by listing all of them, or by searching for what changed."""

    readings: Readings
    hubspot: HubSpotClient
    rules: Rules
    store: RecordStore
    completeness: Completeness
    rotation: AssociationRotation

    def read(self, object_type: str, since: datetime | None) -> StreamReport:
        """Contacts, companies or deals changed since (None: all), with history, merges, associations and deletions.

        The report has the number of unarchived records in HubSpot and the number stored.
        """
        run = self.readings.begin(object_type, since, self.hubspot.transport)
        wanted = wanted_of(self.readings.warehouse, self.rules, object_type)
        left = self._left_over(wanted)
        if left is not None:
            run.window_end = left.window_end
            run.count("resumed extractions", 1)
            self._go_on(wanted, left, run)
            if left.walk is None:
                self._remember_properties(wanted)  # a listing has read all records with them
            return self.readings.end(run).plus(self.read(object_type, left.window_end))
        if run.since is None or self._properties_added(wanted, run):
            self._list(wanted, run)
        else:
            self._search(wanted, run.since - OVERLAP, run)
        self._remember_properties(wanted)
        return self.readings.end(run)

    # --- by listing

    def _list(self, wanted: Wanted, run: Extraction, after: str | None = None, archived: bool = False) -> None:
        """Every record, then every archived one, with history; the archived ones of a portal are a part of it."""
        if not archived:
            listed = self._list_state(wanted, run, after, archived=False)
            run.source_total = listed if after is None else None  # of the rest of a listing it is not the total
            after = None
        gone = self._list_state(wanted, run, after, archived=True)
        run.count("archived records listed", gone)
        if run.source_total is not None:
            run.found = run.source_total + gone
            self.completeness.account_for(wanted, run.source_total, run, archived_known=True)

    def _list_state(self, wanted: Wanted, run: Extraction, after: str | None, *, archived: bool) -> int:
        """List one state of records from a cursor on; how many there were."""
        progress = Progress(wanted.signature, run.window_end, archived)
        total = 0
        kept: list[Record] = []
        for page in self.hubspot.list_all(
            wanted.object_type, wanted.copied, wanted.tracked, archived=archived, after=after
        ):
            kept += page.records
            total += len(page.records)
            if kept and (len(kept) + LIST_PAGE > CHUNK or page.after is None):
                done = archived or page.after is None
                self.store.store(wanted, kept, run, replace(progress, after=page.after, archived=done).as_json())
                kept = []
        run.floor += list_calls(total)
        return total

    # --- by search

    def _search(self, wanted: Wanted, since: datetime, run: Extraction) -> None:
        """What changed, and what was asked to be read again; by listing where that costs less."""
        feed = self.hubspot.changed(wanted.object_type, since, run.window_end)
        run.source_total, run.found = feed.live, feed.total
        if feed.total > CHUNK and cheaper(feed.total, feed.live) == "list":
            run.floor += 1
            self._list(wanted, run)
            return
        run.floor += pages(feed.total, SEARCH_PAGE)
        self.rotation.begin(wanted, run)
        asked = self._asked_for(wanted)
        walk = Progress(wanted.signature, run.window_end, walk=feed.walk)
        self._read(wanted, run, feed.newest, asked, feed.older(), walk)
        named_only = asked.keys() - {int(found.id) for found in feed.newest}
        self.completeness.account_for(wanted, feed.live, run, named_only=named_only)
        self.rotation.end(wanted, run)

    def _read(
        self,
        wanted: Wanted,
        run: Extraction,
        first: list[Changed],
        asked: Mapping[int, None],
        pages: Iterator[list[Changed]],
        progress: Progress,
    ) -> None:
        """Read by id what is not stored as it was found.

        Args:
            wanted: what is read of the object type.
            run: counts.
            first: the newest changes, in any order.
            asked: ids that webhooks and reconciliation want read again.
            pages: of a walk through the other changes, ids ascending.
            progress: the position of the walk: the highest id of a stored chunk.
        """
        missing: list[int] = []
        for ids in chunks(dict.fromkeys([*self._new(wanted, first), *asked]), CHUNK):
            missing += self._read_chunk(wanted, ids, run, None)
        walked = (id_ for page in pages for id_ in self._new(wanted, page) if id_ not in asked)
        for ids in chunks(walked, CHUNK):
            missing += self._read_chunk(wanted, ids, run, progress.walked_to(max(ids)))
        self.completeness.explain(wanted, missing, run)

    def _read_chunk(self, wanted: Wanted, ids: list[int], run: Extraction, progress: Progress | None) -> list[int]:
        run.floor += history_calls(len(ids))
        return self.completeness.read_ids(wanted, ids, run, None if progress is None else progress.as_json())

    def _new(self, wanted: Wanted, found: list[Changed]) -> list[int]:
        """The found ids whose stored copy is older or missing, ascending."""
        frame = pl.DataFrame(
            {"id": [int(c.id) for c in found], "modified_at": [c.modified for c in found]},
            schema={"id": pl.Int64, "modified_at": pl.Datetime("us", "UTC")},
        )
        with self.readings.warehouse.session() as session:
            new = session.query(
                f"SELECT f.id FROM found f ANTI JOIN {wanted.table} t"
                " ON t.id = f.id AND t.modified_at >= f.modified_at AND NOT t.archived",
                found=frame,
            )
        return sorted(new["id"])

    def _asked_for(self, wanted: Wanted) -> dict[int, None]:
        """What webhooks and reconciliation want read again, ascending."""
        with self.readings.warehouse.session() as session:
            rows = session.query("SELECT object_id FROM raw.reread WHERE object_type = ?", [wanted.object_type])
        return dict.fromkeys(sorted(rows["object_id"]))

    # --- what a run that died left

    def _left_over(self, wanted: Wanted) -> Progress | None:
        with self.readings.warehouse.session() as session:
            kept = session.state.progress[wanted.object_type]
        left = None if kept is None else Progress.of(kept)
        return left if left is not None and left.signature == wanted.signature else None

    def _go_on(self, wanted: Wanted, left: Progress, run: Extraction) -> None:
        if left.walk is None:
            self._list(wanted, run, left.after, left.archived)
        else:
            pages = self.hubspot.walked(wanted.object_type, left.walk)
            self._read(wanted, run, [], self._asked_for(wanted), pages, left)

    # --- properties that were not read before

    def _properties_added(self, wanted: Wanted, run: Extraction) -> bool:
        """Whether the rules name properties no record was read with: then all records are read once more."""
        with self.readings.warehouse.session() as session:
            read = session.state.properties[wanted.object_type]
        if read is None:
            return False
        copied, tracked = map(set, read)
        added = sorted(({*wanted.copied, *wanted.tracked} - (copied | tracked)) | (set(wanted.tracked) - tracked))
        if not added:
            return False
        run.figures["all records read again for new properties"] = ", ".join(added)
        return True

    def _remember_properties(self, wanted: Wanted) -> None:
        with self.readings.warehouse.session() as session:
            session.state.properties[wanted.object_type] = [wanted.copied, wanted.tracked]
