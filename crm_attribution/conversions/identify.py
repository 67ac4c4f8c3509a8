"""What HubSpot's contacts and companies are given by inputs: planned on change only, written as it is wanted when it is
sent.

`conversions.told_record` keeps what each record is to have and what HubSpot took last. A row's key names the record and
what of it changed, with the inputs that say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crm_attribution.contracts.topics import COMPANIES, CONTACTS
from crm_attribution.conversions import inputs
from crm_attribution.conversions import traits as computed
from crm_attribution.conversions.identify_rules import LIFECYCLE, Wanted, changed, folded
from crm_attribution.conversions.subjects import Subject, Telling, companies_of, known_of, people_of
from crm_attribution.conversions.teller import Work
from crm_attribution.destinations.hubspot_identify import KEYS, MEMBERSHIPS
from crm_attribution.hubspot.parsed import Refused
from crm_attribution.identifiers import sha256
from crm_attribution.marts.traits import Trait
from crm_attribution.raw.reading import quarantine
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session

TOLD = "conversions.told_record"
INPUT = "raw.identify"

Json = dict[str, Any]


def plan(work: Work) -> list[str]:
    """Plan the records of changed inputs, traits, contacts and companies; returns the new conversion ids."""
    session, rules, traits = work.session, work.rules, work.traits
    telling = Telling(known_of(session, rules))
    if not all(known.types for known in telling.known.values()):
        return []  # the portal's properties were not read yet; their first reading makes everything wanted again
    more = _computed(session, traits, work.changes) if traits else {}
    found = inputs.read(session, work.changes, more.get("contacts", ()), rules)
    people = people_of(session, found, telling)
    companies = companies_of(session, found, telling)
    for kind, subjects_of in (("contacts", people), ("companies", companies)):
        for record in more.get(kind, ()):
            subjects_of.setdefault(f"{kind}:{record}", Subject(kind, record, ""))
    subjects = [one for one in (*people.values(), *companies.values()) if one.kind in rules.write_back.identify.tell]
    planned = _records(session, work.destination.name, subjects, telling, work.now, traits)
    if MEMBERSHIPS in rules.write_back.identify.actions:
        planned += _memberships(session, found, people.values())
    _report(session, telling, work.now)
    return work.insert(_rows(planned, due(session, work.now), work.now + work.destination.limits.max_age))


def signature(session: Session, traits: Mapping[str, Trait]) -> str:
    """Of what decides about computed traits besides their values: their files, and which of their properties there
    are."""
    wanted = [(kind, name) for kind, types in computed.properties(traits).items() for name in types]
    there = session.query("SELECT object_type, name FROM raw.property WHERE NOT archived").rows() if wanted else []
    texts = [trait.text for _, trait in sorted(traits.items())]
    return sha256(json.dumps([texts, sorted(set(wanted) & set(there))]))[:16]


def _computed(session: Session, traits: Mapping[str, Trait], changes: Changes) -> dict[str, list[int]]:
    """Records whose traits changed, and those that were told of something and are others now."""
    found = computed.changed(session, changes)
    told = session.query(
        "SELECT object_type, record_id FROM conversions.told_record SEMI JOIN ids ON record_id = ids.id",
        ids=records_frame("id", [*changes.ids(CONTACTS), *changes.ids(COMPANIES)]),
    )
    for kind, record in told.iter_rows():
        found[kind].append(record)
    return {
        kind: sorted(set(ids)) for kind, ids in found.items() if any(kind in trait.tell for trait in traits.values())
    }


def due(session: Session, now: datetime) -> datetime:
    """Within the hour of this run, so that its sinks send it."""
    end = session.state.watermark
    return (now if end is None else min(now, end)) - timedelta(seconds=1)


def _records(
    session: Session,
    destination: str,
    subjects: Iterable[Subject],
    telling: Telling,
    now: datetime,
    traits: Mapping[str, Trait],
) -> list[tuple[str, str]]:
    """(action, key) of the records that HubSpot is to be told of; what they are to have is kept."""
    subjects = list(subjects)
    kept = kept_of(session, {one for subject in subjects for one in (subject.id, *subject.before)})
    taken = _taken(session, destination, [row["wanted_key"] for row in kept.values() if row["wanted_key"]])
    stages = stages_of(session, {(one.kind, one.record) for one in subjects if one.record is not None})
    records = {kind: [one.record for one in subjects if one.kind == kind and one.record] for kind in _TABLES}
    values = computed.values_of(session, traits, records) if traits else {}
    planned, rows, gone = [], [], set[str]()
    for subject in subjects:
        before = [kept[one] for one in sorted(subject.before) if one in kept]
        mine = [*before, *([kept[subject.id]] if subject.id in kept else [])]
        told = {name: text for row in mine for name, text in _told(row, taken).items()}
        known = telling.known[subject.kind]
        said = {**folded(subject.said).values, **subject.made_of}
        if traits and subject.record is not None:
            mine_now = {
                **computed.cleared(traits, subject.kind, told),
                **values.get((subject.kind, subject.record), {}),
            }
            said |= {name: one for name, one in mine_now.items() if name in known.types}
        wanted = Wanted(said)
        news = changed(wanted.texts, told, stages.get((subject.kind, subject.record)), known.stages)
        tellings = sum(row["tellings"] + (row["wanted_key"] in taken) for row in mine)
        key = wanted.key(subject.id, news, tellings) if news else None
        if key is not None:
            planned.append((subject.action, key))
        if key is not None or mine:
            row = _row_of(subject, wanted.texts, key, told, now)
            rows.append({**row, "tellings": tellings, "stages_told": _stages_told(mine, taken)})
        for row in before:  # a row of it that may have been sent is sent again without values: they may be old by now
            if row["name"] is None or row["wanted_key"] is None or row["wanted_key"] in taken:
                gone.add(row["subject"])
            else:
                rows.append({**row, "wanted": json.dumps(_nameable(row)), "planned_at": now})
    if gone:
        session[TOLD].delete(ids_frame("subject", gone))
    if rows:
        session[TOLD].upsert(pl.DataFrame(rows, infer_schema_length=None))
    return planned


def _nameable(row: Json) -> Json:
    """What a record that has been made meanwhile is found by."""
    return {KEYS[row["object_type"]]: row["name"]}


def kept_of(session: Session, subjects: Iterable[str]) -> dict[str, Json]:
    found = session.read_keys(TOLD, ids_frame("subject", subjects))
    return {row["subject"]: row for row in found.iter_rows(named=True)}


def _taken(session: Session, destination: str, keys: Iterable[str]) -> set[str]:
    """Keys of rows that HubSpot took."""
    found = session.query(
        "SELECT milestone_id FROM conversions.conversion SEMI JOIN keys ON milestone_id = keys.key"
        " WHERE destination = ? AND state IN ('accepted', 'processed')",
        [destination],
        keys=ids_frame("key", keys),
    )
    return set(found["milestone_id"])


def _told(row: Json, taken: set[str]) -> dict[str, str]:
    """What HubSpot took last of a record: what was wanted, once the row that told it is accepted."""
    told: dict[str, str] = json.loads(row["told"])
    return {**told, **json.loads(row["wanted"])} if row["wanted_key"] in taken else told


def _stages_told(rows: Iterable[Json], taken: set[str]) -> list[str]:
    """Every lifecycle stage that HubSpot took of a record."""
    found = {stage for row in rows for stage in row["stages_told"] or ()}
    found |= {json.loads(row["wanted"]).get(LIFECYCLE) for row in rows if row["wanted_key"] in taken}
    return sorted(found - {None})


def _row_of(
    subject: Subject, wanted: Mapping[str, str], key: str | None, told: Mapping[str, str], now: datetime
) -> Json:
    return {
        "subject": subject.id,
        "object_type": subject.kind,
        "record_id": subject.record,
        "name": subject.name if subject.record is None else None,
        "wanted": json.dumps(wanted, sort_keys=True, ensure_ascii=False),
        "wanted_key": key,
        "told": json.dumps(told, sort_keys=True, ensure_ascii=False),
        "planned_at": now,
    }


def stages_of(session: Session, records: Iterable[tuple[str, int]]) -> dict[tuple[str, int | None], str | None]:
    """The lifecycle stage that HubSpot has of some records."""
    by_kind = {
        kind: records_frame("id", [one for of, one in records if of == kind]) for kind in ("contacts", "companies")
    }
    return {
        (kind, record): stage
        for kind, ids in by_kind.items()
        for record, stage in session.query(
            f"SELECT id, lifecyclestage FROM {_TABLES[kind]} SEMI JOIN ids USING (id)", ids=ids
        ).iter_rows()
    }


def _memberships(session: Session, found: inputs.Inputs, people: Iterable[Subject]) -> list[tuple[str, str]]:
    """(action, key) of contacts that are not associated with the company that was named last with them."""
    ids = records_frame("id", [one.record for one in people if one.record is not None])
    rows = found.people.filter(pl.col("record_id").is_in(ids["id"].to_list())).drop_nulls("business_domain")
    newest = rows.sort("happened_at", "message_id").unique("record_id", keep="last", maintain_order=True)
    sole = found.owners.filter(pl.len().over("business_domain") == 1)
    pairs = newest.join(sole, on="business_domain", maintain_order="left").select("record_id", "company_id")
    new = session.query(
        "SELECT record_id, company_id FROM pairs WHERE record_id IN (SELECT id FROM raw.contact WHERE NOT archived)"
        f" AND NOT EXISTS (SELECT 1 FROM {JOINED} ORDER BY ALL",
        pairs=pairs,
    )
    return [(MEMBERSHIPS, f"{MEMBERSHIPS}:{contact}:{company}") for contact, company in new.iter_rows()]


_TABLES = {"contacts": "raw.contact", "companies": "raw.company"}
JOINED = (
    "raw.association a WHERE a.from_type = 'contacts' AND a.to_type = 'companies' AND a.valid_to IS NULL"
    " AND a.from_id = record_id AND a.to_id = company_id)"
)


def _report(session: Session, telling: Telling, now: datetime) -> None:
    """Keep what of the inputs HubSpot is not told, and why; what was reported of them before and is no more is
    mended."""
    reasons = {f"{row}:told:{kind}:{name}": reason for (row, kind, name), reason in telling.wrong.items()}
    refused = [
        Refused(key, f"{key.rpartition(':')[2]}:{reason}", "{}", "write_back.identify", stored=True)
        for key, reason in reasons.items()
    ]
    known = [key for key in session.quarantine.waiting(INPUT) if ":told:" in key]
    mended = [key for key in known if key not in reasons and key.partition(":told:")[0] in telling.seen]
    session.quarantine.resolve(INPUT, pl.Series(mended, dtype=pl.String))
    quarantine(session, INPUT, refused, now)


def _rows(planned: list[tuple[str, str]], ready: datetime, expires: datetime) -> pl.DataFrame:
    """A state has no moment of its own: what holds is told from now on, whichever hour is run."""
    pairs = pl.DataFrame(planned, schema={"action": pl.String, "milestone_id": pl.String}, orient="row")
    return pairs.with_columns(
        milestone="action", occurred_at=pl.lit(ready), ready_at=pl.lit(ready), expires_at=pl.lit(expires)
    )
