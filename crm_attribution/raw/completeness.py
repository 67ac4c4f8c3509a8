"""Whether we have what HubSpot has: counts, archived records, and what became of an id that answers no more.

A search returns the number of unarchived records; the same number must be stored. Where it is not, the archived
list explains most of it, and halving the range of ids finds the rest at one call a halving. A record that is missing
is looked up by itself: a merged one answers with another id, an archived one in the archive, an erased one not at all.
Missing alone never erases anything: it is a row in raw.missing for a person to confirm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import polars as pl

from crm_attribution.clock import Clock
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.cost import history_calls
from crm_attribution.identifiers import record_id, record_ids
from crm_attribution.mapping import Rules
from crm_attribution.raw.merges import record_merges
from crm_attribution.raw.reading import CHUNK, OVERLAP, Extraction, chunks
from crm_attribution.raw.records import RecordStore, Wanted, forget_rereads
from crm_attribution.raw.tombstones import tombstones
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.frames import records_frame

_LIST = 100
_FEW = 200
_LAST_ID = 2**53 - 1


def gone(object_type: str) -> str:
    """SQL for the ids of an object type that do not answer any more: absorbed, erased or archived, or missing."""
    return f"""
        SELECT absorbed_id FROM raw.merge WHERE object_type = '{object_type}'
        UNION ALL SELECT object_id FROM raw.deletion WHERE object_type = '{object_type}' AND restored_at IS NULL
        UNION ALL SELECT object_id FROM raw.missing WHERE object_type = '{object_type}' AND found_at IS NULL
    """


@dataclass(frozen=True)
class Completeness:
    """Compares the stored records with HubSpot's counts and finds the difference."""

    warehouse: Warehouse
    hubspot: HubSpotClient
    clock: Clock
    rules: Rules
    store: RecordStore

    def account_for(
        self,
        wanted: Wanted,
        live: int,
        run: Extraction,
        *,
        named_only: Collection[int] = (),
        archived_known: bool = False,
    ) -> None:
        """Find out why HubSpot's count of unarchived records is not ours, and read what we lack.

        Records made within the last minutes that a webhook named and the search did not may not be in HubSpot's index
        yet: so many more of ours are no difference now. No others: an archived record must not hide behind a new one.

        Args:
            wanted: what is read of the object type.
            live: HubSpot's count of unarchived records.
            run: counts.
            named_only: ids that a webhook or reconciliation named and the search did not.
            archived_known: whether the archived records were listed in this run.
        """
        run.known_total = self._count_known(wanted)
        if live < run.known_total <= live + self._count_young(wanted, named_only):
            run.known_total = live
        if run.known_total > live and not archived_known:
            self.read_archived(wanted, run)
            run.known_total = self._count_known(wanted)
        if run.known_total != live:
            self._settle(wanted, run)

    def read_archived(self, wanted: Wanted, run: Extraction) -> None:
        """Read HubSpot's archive (90 days) and store what is not stored as archived."""
        listed = 0
        for page in self.hubspot.list_all(wanted.object_type, ["hs_object_id"], archived=True):
            ids = record_ids(str(record["id"]) for record in page.records)
            listed += len(page.records)
            with self.warehouse.session() as session:
                new = session.query(
                    f"SELECT a.object_id FROM asked a ANTI JOIN"
                    f" (SELECT t.id AS object_id FROM {wanted.table} t JOIN raw.deletion d ON d.object_id = t.id"
                    " AND d.object_type = ? AND d.restored_at IS NULL WHERE t.archived) k USING (object_id)",
                    [wanted.object_type],
                    asked=records_frame("object_id", ids),
                )["object_id"].to_list()
            self._store_archived(wanted, new, run)
        run.floor += max(1, ceil(listed / _LIST))

    def _store_archived(self, wanted: Wanted, ids: Sequence[int], run: Extraction) -> list[int]:
        """Read and store archived records by id; those that are not in the archive."""
        if not ids:
            return []
        answer = self.hubspot.batch_read(wanted.object_type, ids, wanted.copied, wanted.tracked, archived=True)
        run.floor += history_calls(len(ids))
        for records in chunks(answer.records, CHUNK):
            self.store.store(wanted, records, run)
        run.count("records found archived", len(answer.records))
        return list(map(int, answer.missing))

    def learn_aliases(self, wanted: Wanted, aliases: dict[int, int]) -> None:
        """An id that answered with another one was merged into it."""
        if not aliases:
            return
        rows = pl.DataFrame(
            {
                "object_type": wanted.object_type,
                "absorbed_id": list(aliases),
                "survivor_id": list(aliases.values()),
                "merged_at": pl.Series([None] * len(aliases), dtype=pl.Datetime("us", "UTC")),
                "source": "lookup",
            }
        )
        with self.warehouse.session() as session, session.transaction():
            record_merges(session, wanted.object_type, rows)
            forget_rereads(session, wanted.object_type, aliases)

    def explain(self, wanted: Wanted, ids: Iterable[int], run: Extraction) -> None:
        """What became of ids that do not answer: archived, merged, alive after all, or missing."""
        left = self._store_archived(wanted, sorted(set(ids)), run)
        unknown = [id_ for id_ in left[: self.rules.extraction.lookup_calls] if self._look_up(wanted, id_, run)]
        run.count("ids not looked up yet (extraction.lookup_calls)", len(left[self.rules.extraction.lookup_calls :]))
        now = self.clock.now()
        with self.warehouse.session() as session, session.transaction():
            erased = tombstones(session, wanted.object_type, unknown)
            mine = set(session.read_keys(wanted.table, records_frame("id", unknown))["id"]) - erased
            rows = records_frame("object_id", mine).with_columns(
                object_type=pl.lit(wanted.object_type),
                noticed_at=pl.lit(now).dt.cast_time_unit("us"),
                found_at=pl.lit(None, pl.Datetime("us", "UTC")),
            )
            known = session.read_keys("raw.missing", rows.select("object_type", "object_id"))
            session["raw.missing"].upsert(rows.join(known, on=["object_type", "object_id"], how="anti"))
            session["raw.missing"].upsert(known.with_columns(found_at=pl.lit(None, pl.Datetime("us", "UTC"))))
            forget_rereads(session, wanted.object_type, unknown)
        run.count("records missing without a reason", len(mine))

    def _look_up(self, wanted: Wanted, asked: int, run: Extraction) -> bool:
        """Ask for one id; whether HubSpot does not know it."""
        run.floor += 1
        record = self.hubspot.read_one(wanted.object_type, str(asked), ["hs_merged_object_ids"])
        if record is None:
            return True
        answered = int(record["id"])
        if answered != asked:
            self.learn_aliases(wanted, {asked: answered})
        run.count("records found by a look-up", 1)
        run.floor += 1
        answer = self.hubspot.batch_read(wanted.object_type, [answered], wanted.copied, wanted.tracked)
        if answer.records:
            self.store.store(wanted, answer.records, run)
        return False

    # --- where the counts differ

    def _settle(self, wanted: Wanted, run: Extraction) -> None:
        """Halve the ids until what one side lacks is found, or the calls for it are spent."""
        calls = self.rules.extraction.lookup_calls
        first_count = self.hubspot.count_ids(wanted.object_type, 1, _LAST_ID)
        ranges = [(1, _LAST_ID, first_count)]
        lacking: list[int] = []
        surplus: list[int] = []
        open_ranges: list[tuple[int, int]] = []
        spent = 1
        while ranges:
            first, last, theirs = ranges.pop()
            ours = self._count_known(wanted, first, last)
            if ours == theirs:
                continue
            if spent >= calls:
                open_ranges.append((first, last))
                continue
            spent += 1
            if max(ours, theirs) <= _FEW or first == last:
                there = set(map(int, self.hubspot.ids_between(wanted.object_type, first, last)))
                here = self.known_ids(wanted, first, last)
                lacking += there - here
                surplus += here - there
            else:
                middle = self._middle(wanted, first, last)
                left = self.hubspot.count_ids(wanted.object_type, first, middle)
                ranges += [(middle + 1, last, theirs - left), (first, middle, left)]
        run.floor += spent
        with self.warehouse.session() as session:
            erased = tombstones(session, wanted.object_type, lacking)
        run.count("erased here and alive at HubSpot", len(erased))
        for ids in chunks(sorted(set(lacking) - erased), CHUNK):
            run.floor += history_calls(len(ids))
            surplus += self.read_ids(wanted, ids, run)
        run.count("records found by counting", len(lacking) - len(erased))
        self.explain(wanted, surplus, run)
        run.source_total, run.known_total = first_count - len(erased), self._count_known(wanted)
        if open_ranges:
            run.unaccounted = ", ".join(f"{first} to {last}" for first, last in open_ranges[:5])

    def read_ids(
        self, wanted: Wanted, ids: list[int], run: Extraction, progress: Mapping[str, Any] | None = None
    ) -> list[int]:
        """Read and store records by id; those that did not answer."""
        answer = self.hubspot.batch_read(wanted.object_type, ids, wanted.copied, wanted.tracked)
        aliases = ((int(old), record_id(new)) for old, new in answer.aliases.items())
        self.learn_aliases(wanted, {old: new for old, new in aliases if new is not None})
        if answer.records:
            self.store.store(wanted, answer.records, run, progress)
        return list(map(int, answer.missing))

    def _count_known(self, wanted: Wanted, first: int | None = None, last: int | None = None) -> int:
        return int(self._known(wanted, first, last)["n"].item())

    def _count_young(self, wanted: Wanted, ids: Collection[int]) -> int:
        with self.warehouse.session() as session:
            made = session.read_keys(wanted.table, records_frame("id", ids), ["created_at"])["created_at"]
        return int((made > self.clock.now() - OVERLAP).sum())

    def known_ids(self, wanted: Wanted, first: int, last: int) -> set[int]:
        """Ids of the records we take for alive, from `first` to `last`."""
        return set(self._known(wanted, first, last, "k.id")["id"])

    def _known(self, wanted: Wanted, first: int | None, last: int | None, what: str = "count(*) AS n") -> pl.DataFrame:
        """Records we take for alive at HubSpot: stored and not archived, absorbed, erased or missing; refused ones in
        quarantine exist as well."""

        def within(column: str) -> str:
            return "" if first is None else f" AND {column} BETWEEN {first} AND {last}"

        known = f"""
            SELECT t.id FROM {wanted.table} t WHERE NOT t.archived{within("t.id")}
            UNION ALL
            SELECT DISTINCT k.id FROM
                (SELECT TRY_CAST(key AS BIGINT) AS id FROM {wanted.described.quarantine} WHERE NOT resolved) k
            ANTI JOIN {wanted.table} t ON t.id = k.id WHERE k.id >= 0{within("k.id")}
        """
        query = f"SELECT {what} FROM ({known}) k ANTI JOIN ({gone(wanted.object_type)}) g ON k.id = g.absorbed_id"
        with self.warehouse.session() as session:
            return session.query(query)

    def _middle(self, wanted: Wanted, first: int, last: int) -> int:
        """Our median id in a range; the range's own middle where we have none in it."""
        with self.warehouse.session() as session:
            median = session.scalar(
                f"SELECT quantile_disc(id, 0.5) FROM {wanted.table} WHERE id BETWEEN ? AND ?",
                [first, last],
            )
        middle = (first + last) // 2 if median is None else int(median)
        return min(max(middle, first), last - 1)
