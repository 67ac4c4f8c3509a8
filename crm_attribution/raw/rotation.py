"""The rotation of associations: what HubSpot does not date is read again, a bounded number of records an hour."""

from __future__ import annotations

from dataclasses import dataclass

from crm_attribution.clock import Clock
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.mapping import Rules
from crm_attribution.raw.associations import by_record, journal_associations
from crm_attribution.raw.completeness import gone
from crm_attribution.raw.reading import Extraction, chunks
from crm_attribution.raw.records import ASSOCIATIONS, Wanted
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.frames import records_frame


@dataclass(frozen=True)
class AssociationRotation:
    """Reads associations again, of records in the order of their ids, regardless of their modified times."""

    warehouse: Warehouse
    hubspot: HubSpotClient
    clock: Clock
    rules: Rules

    def begin(self, wanted: Wanted, run: Extraction) -> None:
        """Choose the records whose associations are read again in this run, `extraction.association_calls` thousand."""
        run.rotation.waiting = self._next(wanted, self.rules.extraction.association_calls * ASSOCIATIONS)

    def end(self, wanted: Wanted, run: Extraction) -> None:
        """Read what the calls for changed records had no room for, in separate calls; the first thousand of an hour
        without changes needs one, in other hours it was read already."""
        calls = self.rules.extraction.association_calls - bool(run.rotation.read)
        alone = run.rotation.waiting[: calls * ASSOCIATIONS]
        for ids in chunks([*self._once_associated(wanted, run.rotation.bare), *alone], ASSOCIATIONS):
            self._associations(wanted, ids, run)
        run.rotation.read += alone
        if run.rotation.read:
            with self.warehouse.session() as session:
                session.state.swept[wanted.object_type] = run.rotation.read[-1]

    def _associations(self, wanted: Wanted, ids: list[int], run: Extraction) -> None:
        now = self.clock.now()
        for other in wanted.described.associated:
            found = by_record(self.hubspot.associations(wanted.object_type, other, ids))
            run.floor += 1
            with self.warehouse.session() as session, session.transaction():
                changed = journal_associations(session, wanted.object_type, other, found, set(), now)
            run.changed += len(changed)
            run.count("records with changed associations", len(changed))

    def _once_associated(self, wanted: Wanted, bare: set[int]) -> list[int]:
        """The live records for which HubSpot returned no associations although they had some."""
        if not bare:
            return []
        with self.warehouse.session() as session:
            rows = session.query(
                f"SELECT DISTINCT a.from_id AS id FROM raw.association a SEMI JOIN asked ON a.from_id = asked.id"
                f" JOIN {wanted.table} t ON t.id = a.from_id"
                f" ANTI JOIN ({gone(wanted.object_type)}) g ON a.from_id = g.absorbed_id"
                " WHERE a.from_type = ? AND a.valid_to IS NULL AND NOT t.archived ORDER BY 1",
                [wanted.object_type],
                asked=records_frame("id", bare),
            )
        return list(rows["id"])

    def _next(self, wanted: Wanted, most: int) -> list[int]:
        """The ids after those of the last time; from the smallest again when the end is reached."""
        if not most:
            return []
        query = (
            f"SELECT id FROM {wanted.table} t ANTI JOIN ({gone(wanted.object_type)}) g ON t.id = g.absorbed_id"
            " WHERE NOT archived AND id > ? ORDER BY id LIMIT ?"
        )
        with self.warehouse.session() as session:
            last = session.state.swept[wanted.object_type] or 0
            ids: list[int] = session.query(query, [last, most])["id"].to_list()
            return ids or session.query(query, [0, most])["id"].to_list()
