"""raw.activity: meetings, calls and marketing-event attendance, and which of them HubSpot does not have any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil

import polars as pl

from crm_attribution.errors import Forbidden, Rejected
from crm_attribution.hubspot import activities
from crm_attribution.hubspot.activities import ARCHIVED, MISSING, TABLE, Kind
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.paging import Record
from crm_attribution.hubspot.parsed import Parsed
from crm_attribution.mapping import Rules
from crm_attribution.raw.associations import by_record
from crm_attribution.raw.reading import NOT_FOUND, OVERLAP, Extraction, Readings, StreamReport
from crm_attribution.raw.tombstones import tombstones
from crm_attribution.warehouse.session import Session


@dataclass(frozen=True)
class ActivityReader:
    """Meetings, calls and marketing-event attendance, each where `streams` of the mapping says so."""

    readings: Readings
    hubspot: HubSpotClient
    rules: Rules

    def read(self, since: datetime | None) -> StreamReport:
        """Read what changed, and mark what is gone.

        One that the token may not read is left as it is, and the report's `not_read` names it; the others are read.
        """
        report = StreamReport()
        for name, read in (
            ("meetings", self._objects),
            ("calls", self._objects),
            ("marketing_events", self._attendance),
        ):
            if not getattr(self.rules.streams, name):
                report.figures[name] = f"off (streams.{name} in the mapping)"
                continue
            run = self.readings.begin(name, since, self.hubspot.transport)
            try:
                read(run)
            except (Forbidden, Rejected) as error:
                if isinstance(error, Rejected) and error.status != NOT_FOUND:
                    raise
                told = f"{error}. Not read: {name}; grant the scope, or switch it off in the mapping (streams)"
                report = replace(report.plus(run.report()), not_read="; ".join(filter(None, (report.not_read, told))))
                continue
            report = replace(report.plus(self.readings.end(run)), not_read=report.not_read)
        return report

    def _objects(self, run: Extraction) -> None:
        """Meetings or calls that changed, with their contacts; then those that are gone or back."""
        kind, run.found = activities.KINDS[run.stream], 0
        bound = None if run.since is None else run.since - OVERLAP
        for page in self.hubspot.activities(kind, bound, run.window_end):
            self._keep(run, kind, page)
            run.floor += 2
        run.floor = max(1, run.floor) + 1
        self._compare(run, kind)

    def _keep(self, run: Extraction, kind: Kind, page: Sequence[Record]) -> None:
        ids = [int(row["id"]) for row in page]
        found = by_record(self.hubspot.associations(kind.objects, "contacts", ids))
        contacts = {number: [int(end["toObjectId"]) for end in ends] for number, ends in found.items()}
        now = self.readings.clock.now()
        run.found = (run.found or 0) + len(page)
        self._store(run, activities.activities(kind, page, contacts, extracted_at=now), now)

    def _compare(self, run: Extraction, kind: Kind) -> None:
        """Search knows no archived ones and dates no archiving: HubSpot's count of the others tells that some are gone,
        or back. One call; looked into only where the difference is not that of the last hour."""
        live = self.hubspot.count_activities(kind)
        difference = self._known(kind) - live
        with self.readings.warehouse.session() as session:
            before = session.state.activity_difference[run.stream] or 0
        if difference == before:
            return
        if difference > 0:
            self._mark(kind, self.hubspot.archived_activities(kind), ARCHIVED)
            if (difference := self._known(kind) - live) > 0:
                ours = self._ids(kind, "gone IS NULL")
                self._mark(
                    kind, set(ours) - {str(row["id"]) for row in self.hubspot.read_activities(kind, ours)}, MISSING
                )
        elif back := self.hubspot.read_activities(kind, self._ids(kind, "gone IS NOT NULL")):
            self._keep(run, kind, back)
        difference = self._known(kind) - live
        with self.readings.warehouse.session() as session, session.transaction():
            session.state.activity_difference[run.stream] = difference

    def _known(self, kind: Kind) -> int:
        """How many we know of: stored and not gone, or in quarantine."""
        with self.readings.warehouse.session() as session:
            stored = int(
                session.scalar("SELECT count(*) FROM raw.activity WHERE kind = ? AND gone IS NULL", [kind.name]) or 0
            )
            refused = [key for key in session.quarantine.waiting(TABLE) if key.startswith(f"{kind.name}:")]
        return stored + len(refused)

    def _ids(self, kind: Kind, condition: str) -> list[str]:
        with self.readings.warehouse.session() as session:
            rows = session.query(f"SELECT id FROM raw.activity WHERE kind = ? AND {condition} ORDER BY id", [kind.name])
        return rows["id"].to_list()

    def _mark(self, kind: Kind, ids: set[str], gone: str) -> None:
        keys = pl.DataFrame({"id": sorted(ids)}, schema={"id": pl.String}).select(kind=pl.lit(kind.name), id="id")
        with self.readings.warehouse.session() as session, session.transaction():
            _mark_gone(session, keys, gone)

    def _attendance(self, run: Extraction) -> None:
        """The people of marketing events that run, began in the last days or changed; those that HubSpot does not name
        any more are gone."""
        run.found, events = 0, self.hubspot.marketing_events()
        read: dict[str, list[str]] = {}
        for event in activities.events_due(events, run.since, run.window_end):
            number = str(event["objectId"])
            people, now = self.hubspot.participations(number), self.readings.clock.now()
            run.found += len(people)
            run.floor += max(1, ceil(len(people) / activities.EVENT_PAGE))
            self._store(run, activities.attendance(event, people, extracted_at=now), now)
            read[number] = [str(person.get("id")) for person in people]
        run.floor += max(1, ceil(len(events) / activities.EVENT_PAGE))
        listed = pl.DataFrame(
            {"event_id": [str(event["objectId"]) for event in events]}, schema={"event_id": pl.String}
        )
        people_of = pl.DataFrame(
            [(event, person) for event, found in read.items() for person in found],
            schema={"event_id": pl.String, "id": pl.String},
            orient="row",
        )
        with self.readings.warehouse.session() as session, session.transaction():
            unnamed = session.query(
                "SELECT kind, id FROM raw.activity a WHERE gone IS NULL AND event_id IS NOT NULL"
                " AND (event_id NOT IN (FROM listed) OR event_id IN (SELECT unnest(?)) AND NOT EXISTS"
                " (FROM people_of p WHERE p.event_id = a.event_id AND p.id = a.id))",
                [list(read)],
                listed=listed,
                people_of=people_of,
            )
            _mark_gone(session, unnamed, MISSING)

    def _store(self, run: Extraction, parsed: Parsed, now: datetime) -> None:
        """Store activities, without erased contacts; of nobody else's none is left."""
        with self.readings.warehouse.session() as session:
            erased = tombstones(session, "contacts", parsed.rows["contact_ids"].explode().drop_nulls())
        left = pl.element().filter(~pl.element().is_in(list(erased)))
        rows = parsed.rows.with_columns(pl.col("contact_ids").list.eval(left)) if erased else parsed.rows
        self.readings.write(run, TABLE, Parsed(rows, parsed.refused), ["kind", "id"], now)


def _mark_gone(session: Session, keys: pl.DataFrame, gone: str) -> None:
    """Say of the activities with these keys (kind, id) that they are gone, where that is not known yet."""
    rows = session.read_keys(TABLE, keys).filter(pl.col("gone").is_null())
    session[TABLE].upsert(rows.with_columns(gone=pl.lit(gone)))
