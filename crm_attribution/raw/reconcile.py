"""The daily reconciliation: every record compared with HubSpot, a bounded number of them a day, in rotation.

It finds what no search finds: records archived, merged away or erased while the counts happened to agree, and values
that changed without a new modified stamp (calculated properties).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from crm_attribution.hubspot import parse
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.cost import history_calls
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.records import Page
from crm_attribution.identifiers import record_ids
from crm_attribution.mapping import Rules
from crm_attribution.raw.completeness import Completeness
from crm_attribution.raw.reading import Extraction, Readings, StreamReport
from crm_attribution.raw.records import Wanted, wanted_of
from crm_attribution.warehouse.frames import records_frame


@dataclass(frozen=True)
class Reconciler:
    """Compares records with HubSpot, regardless of their modified times."""

    readings: Readings
    hubspot: HubSpotClient
    rules: Rules
    completeness: Completeness

    def run(self) -> StreamReport:
        """All object types, `extraction.reconcile_calls` pages of each; the next reconciliation continues there."""
        report = StreamReport()
        for object_type in OBJECT_TYPES:
            report = report.plus(self._reconcile(object_type))
        with self.readings.warehouse.session() as session:
            report.rows = session.scalar("SELECT count(*) FROM raw.missing")
        return report

    def _reconcile(self, object_type: str) -> StreamReport:
        run = self.readings.begin(f"reconcile:{object_type}", None, self.hubspot.transport)
        wanted = wanted_of(self.readings.warehouse, self.rules, object_type)
        self.completeness.read_archived(wanted, run)
        after, last = self._place(object_type)
        pages = 0
        for page in self.hubspot.list_all(object_type, wanted.copied, after=after):
            pages += 1
            last = self._compare(wanted, page, last, run)
            enough = pages >= self.rules.extraction.reconcile_calls
            self._remember(object_type, page.after, last if page.after else 0)
            if enough:
                break
        run.floor += pages
        run.found = run.rows
        return self.readings.end(run)

    def _compare(self, wanted: Wanted, page: Page, last: int, run: Extraction) -> int:
        """Read again what differs and explain what is not there; the highest id compared so far."""
        parsed = parse.records(
            wanted.object_type, page.records, home_currency=wanted.home, extracted_at=self.readings.clock.now()
        )
        ids = record_ids(str(record["id"]) for record in page.records)
        highest = max([last, *ids])
        upto = highest if page.after else 2**53 - 1
        with self.readings.warehouse.session() as session:
            stored = session.read_keys(wanted.table, records_frame("id", ids))
        here = self.completeness.known_ids(wanted, last + 1, upto)
        read_before = set(stored["id"])
        same = parsed.rows.join(
            stored.select("id", _stored="properties", _archived="archived"), on="id", how="inner"
        ).filter((pl.col("properties") == pl.col("_stored")) & ~pl.col("_archived"))["id"]
        refused = set(record_ids(row.key for row in parsed.refused)) & here
        differing = sorted({*ids} - {*same} - refused)
        run.count("records changed silently", len(read_before & set(differing)))
        run.count("records added", len(set(differing) - read_before))
        run.floor += history_calls(len(differing))
        missing = self.completeness.read_ids(wanted, differing, run) if differing else []
        self.completeness.explain(wanted, {*missing, *(here - set(ids))}, run)
        run.count("records compared", len(ids))
        return highest

    def _place(self, object_type: str) -> tuple[str | None, int]:
        """Where the last reconciliation stopped: the listing's cursor, and the highest id it had compared."""
        with self.readings.warehouse.session() as session:
            after, last = session.state.reconciled[object_type] or (None, 0)
        return after, int(last)

    def _remember(self, object_type: str, after: str | None, last: int) -> None:
        with self.readings.warehouse.session() as session:
            session.state.reconciled[object_type] = [after, last]
