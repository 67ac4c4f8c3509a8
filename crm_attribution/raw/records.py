"""Storing contacts, companies and deals: the record, its history, merges, associations and deletions, in one
transaction per thousand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from math import ceil
from typing import Any

import polars as pl

from crm_attribution.clock import Clock
from crm_attribution.hubspot import parse
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.objects import OBJECT_TYPES, ObjectType
from crm_attribution.hubspot.parsed import Refused
from crm_attribution.identifiers import record_id, record_ids
from crm_attribution.mapping import Rules
from crm_attribution.mapping.write_back import RECORDS
from crm_attribution.raw.associations import Associations, by_record, journal_associations
from crm_attribution.raw.merges import record_merges
from crm_attribution.raw.reading import Extraction, quarantine
from crm_attribution.raw.tombstones import tombstones
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

_HISTORY_IDENTITY = ["object_type", "object_id", "property", "timestamp", "value"]
ASSOCIATIONS = 1_000
_PLAIN = 100

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What is read of one object type.

    Attributes:
        object_type: contacts, companies or deals.
        copied: properties whose current value is kept.
        tracked: properties whose history is kept.
        home: the account's currency, ISO 4217.
    """

    object_type: str
    copied: list[str]
    tracked: list[str]
    home: str | None

    @property
    def described(self) -> ObjectType:
        return OBJECT_TYPES[self.object_type]

    @property
    def table(self) -> str:
        return self.described.table

    @property
    def signature(self) -> str:
        return sha256(json.dumps([sorted(self.copied), sorted(self.tracked)]).encode()).hexdigest()[:16]


def named_properties(rules: Rules, object_type: str) -> tuple[list[str], list[str]]:
    """The properties the rules and the product need: those that are copied, and those whose history is read."""
    stages = [f"hs_lifecyclestage_{stage}_date" for stage in rules.lifecycle.stages]
    described = OBJECT_TYPES[object_type]
    became = [] if described.pipelines else stages
    said = rules.touches.self_reported.property
    answers = [said] if said is not None and described.carries_consent else []
    told = [rule.browser_event_id for one in rules.destinations.values() for rule in one.conversions]
    people = [*rules.consent.properties, *rules.identifiers.of_contact, *filter(None, told), *answers]
    configured = people if described.carries_consent else []
    configured += rules.identifiers.account_country if object_type == "companies" else []
    churn = {"deals": rules.churn, "companies": rules.churn.company}.get(object_type)
    ending = [] if churn is None else churn.names()
    given = rules.write_back.properties.of(object_type) if object_type in RECORDS else {}
    required = rules.write_back.stages.requires if object_type == "deals" else []
    copied = [
        *described.typed,
        *given,
        *required,
        *described.needed,
        *rules.properties[object_type],
        *became,
        *configured,
        *ending,
    ]
    tracked = [*described.tracked, *rules.history[object_type], *answers, *ending]
    return list(dict.fromkeys(copied)), list(dict.fromkeys(tracked))


def wanted_of(warehouse: Warehouse, rules: Rules, object_type: str) -> Wanted:
    """The properties the rules and the product need."""
    copied, tracked = named_properties(rules, object_type)
    with warehouse.session() as session:
        home = session.scalar("SELECT company_currency FROM raw.account")
    return Wanted(object_type, copied, tracked, home)


@dataclass(frozen=True)
class RecordStore:
    """Writes what HubSpot answered for records."""

    warehouse: Warehouse
    hubspot: HubSpotClient
    clock: Clock
    rules: Rules

    def store(
        self, wanted: Wanted, results: Sequence[Record], run: Extraction, progress: Mapping[str, Any] | None = None
    ) -> None:
        """Store records, live or archived, with their history, merges and associations.

        Args:
            wanted: what was asked for.
            results: records with history, at most a thousand.
            run: counts.
            progress: where a run resumes if this one dies; kept in the same transaction.
        """
        now = self.clock.now()
        results = self._with_history(wanted, self._not_erased(wanted.object_type, results), run)
        results = self._with_first_entries(wanted, results, run)
        records = parse.records(wanted.object_type, results, home_currency=wanted.home, extracted_at=now)
        accepted = set(records.rows["id"])
        kept = [result for result in results if record_id(result["id"]) in accepted]
        history = parse.history(wanted.object_type, kept, extracted_at=now)
        refused_history = [*history.refused, *_without_history(wanted.object_type, kept)]
        live = [int(result["id"]) for result in kept if not result.get("archived")]
        related = self._related(wanted.object_type, live, run)
        with self.warehouse.session() as session, session.transaction():
            first_read = _not_in(session, wanted.table, accepted)
            written = session[wanted.table].upsert(records.rows, newer="modified_at")["id"]
            changed = _append_history(session, history.rows, first_read)
            absorbed = record_merges(session, wanted.object_type, parse.merges(wanted.object_type, kept))
            gone = _record_deletions(session, wanted.object_type, kept, live, now)
            joined = [
                journal_associations(session, wanted.object_type, other, found, first_read, now)
                for other, found in related.items()
            ]
            refused = record_ids(row.key for row in records.refused if not row.stored)
            session.journal.add(wanted.object_type, {*gone, *refused})
            dirty = {*written, *changed, *gone, *refused, *(id_ for ids in joined for id_ in ids)}
            session.quarantine.resolve(wanted.table, records.rows["id"])
            quarantine(session, wanted.table, records.refused, now)
            read_again = [f"{wanted.object_type}:{result['id']}" for result in kept]
            session.quarantine.resolve("raw.property_history", pl.Series(read_again, dtype=pl.String))
            quarantine(session, "raw.property_history", refused_history, now)
            forget_rereads(session, wanted.object_type, record_ids(str(result["id"]) for result in results))
            if progress is not None:
                session.state.progress[run.stream] = progress
        run.rows += records.rows.height
        run.changed += len(dirty | absorbed)
        run.quarantined += len(records.refused) + len(refused_history)

    def _related(self, object_type: str, live: list[int], run: Extraction) -> dict[str, Associations]:
        """Current associations of live records; an archived record keeps those it had.

        A call takes a thousand records: the room left in it goes to the next in rotation, whose associations may have
        changed without a stamp. One of them that has none may be archived, which is not known yet: it is looked at
        again when it is (`Rotation.bare`).
        """
        if not live:
            return {}
        pairs = OBJECT_TYPES[object_type].associated
        calls = ceil(len(live) / ASSOCIATIONS)
        run.floor += len(pairs) * calls
        room = calls * ASSOCIATIONS - len(live)
        rotated, run.rotation.waiting = run.rotation.waiting[:room], run.rotation.waiting[room:]
        run.rotation.read += rotated
        asked = list(dict.fromkeys([*live, *rotated]))
        found: dict[str, Associations] = {}
        for other in pairs:
            answer = by_record(self.hubspot.associations(object_type, other, asked))
            without = {id_ for id_ in set(rotated) - set(live) if not answer.get(id_)}
            run.rotation.bare |= without
            found[other] = {id_: ends for id_, ends in answer.items() if id_ not in without}
        return found

    def _not_erased(self, object_type: str, results: Sequence[Record]) -> list[Record]:
        """Drop records whose privacy deletion is known: a page read before it must not bring them back."""
        with self.warehouse.session() as session:
            erased = tombstones(session, object_type, record_ids(str(result["id"]) for result in results))
        return [result for result in results if record_id(result["id"]) not in erased]

    def _with_history(self, wanted: Wanted, results: list[Record], run: Extraction) -> list[Record]:
        """The same records; one that came without any history is read again by itself."""
        bare = parse.without_history(wanted.object_type, results)
        if not bare:
            return results
        run.count("records read again for their history", len(bare))
        archived = {str(result["id"]): bool(result.get("archived")) for result in results}
        again: dict[str, Record] = {}
        for state in (False, True):
            ids = [id_ for id_ in bare if archived[id_] is state]
            answer = self.hubspot.batch_read(wanted.object_type, ids, wanted.copied, wanted.tracked, archived=state)
            again |= {str(record["id"]): record for record in answer.records}
        return [again.get(str(result["id"]), result) for result in results]

    def _with_first_entries(self, wanted: Wanted, results: list[Record], run: Extraction) -> list[Record]:
        """The same records; one whose stage history reached HubSpot's cap gets the dates of its first entries, which
        HubSpot keeps as properties: `hs_v2_date_entered_{stage}`."""
        capped = {str(result["id"]): result for result in results if parse.stages_capped(wanted.object_type, result)}
        if not capped:
            return results
        run.count("records whose stage history is capped", len(capped))
        names = [f"hs_v2_date_entered_{stage}" for stage in self._stages(wanted.object_type)]
        dated: dict[str, Record] = {}
        for state in (False, True):
            ids = [id_ for id_, result in capped.items() if bool(result.get("archived")) is state]
            run.floor += ceil(len(ids) / _PLAIN)
            for record in self.hubspot.batch_read(wanted.object_type, ids, names, archived=state).records:
                entered = {name: record["properties"].get(name) for name in names}
                before = capped.get(str(record["id"]))
                if before is not None:
                    properties = {**before["properties"], **{name: at for name, at in entered.items() if at}}
                    dated[str(record["id"])] = {**before, "properties": properties}
        return [dated.get(str(result["id"]), result) for result in results]

    def _stages(self, object_type: str) -> list[str]:
        if not OBJECT_TYPES[object_type].pipelines:
            return list(self.rules.lifecycle.stages)
        with self.warehouse.session() as session:
            stages = session.query(
                "SELECT stage_id FROM raw.pipeline_stage WHERE object_type = ? ORDER BY 1", [object_type]
            )
        return stages["stage_id"].to_list()


def _without_history(object_type: str, kept: Sequence[Record]) -> list[Refused]:
    """Records returned twice without history: their values are stored, a row in quarantine names what is missing."""
    return [
        Refused(f"{object_type}:{id_}", "propertiesWithHistory:missing", "{}", "raw.property_history")
        for id_ in parse.without_history(object_type, kept)
    ]


def _append_history(session: Session, rows: pl.DataFrame, first_read: set[int]) -> set[int]:
    """Add what is not there yet, and return whose; of a record that was never stored nothing is there, and a first
    load does not search a table that grows under it."""
    new = pl.col("object_id").is_in(list(first_read))
    first = rows.filter(new).unique(_HISTORY_IDENTITY, keep="first", maintain_order=True)
    session["raw.property_history"].append_new(first)
    changed = session["raw.property_history"].append(rows.filter(~new), identity=_HISTORY_IDENTITY)
    return {*first["object_id"], *changed["object_id"]}


def _record_deletions(
    session: Session, object_type: str, kept: Sequence[Record], live: Sequence[int], now: datetime
) -> set[int]:
    """Keep which records are archived, and which have come back. Returns the ids that are something else now."""
    archived = parse.deletions(object_type, kept, noticed_at=now)
    ids = records_frame("object_id", [*archived["object_id"], *live]).with_columns(
        object_type=pl.lit(object_type), kind=pl.lit("archived")
    )
    known = session.read_keys("raw.deletion", ids)
    back = known.filter(pl.col("object_id").is_in(list(live)) & pl.col("restored_at").is_null())
    rows = pl.concat([archived, back.with_columns(restored_at=pl.lit(now).dt.cast_time_unit("us"))])
    found = records_frame("object_id", live).with_columns(object_type=pl.lit(object_type))
    again = session.read_keys("raw.missing", found).filter(pl.col("found_at").is_null())
    session["raw.missing"].upsert(again.with_columns(found_at=pl.lit(now).dt.cast_time_unit("us")))
    return set(session["raw.deletion"].upsert(rows)["object_id"])


def forget_rereads(session: Session, object_type: str, ids: Iterable[int]) -> None:
    """What was read, or cannot be, need not be read again."""
    session["raw.reread"].delete(records_frame("object_id", ids).with_columns(object_type=pl.lit(object_type)))


def _not_in(session: Session, table: str, ids: Iterable[int]) -> set[int]:
    """The ids the table has no row for yet."""
    return set(session.query(f"SELECT id FROM ids ANTI JOIN {table} USING (id)", ids=records_frame("id", ids))["id"])
