"""Due rows of inputs at the moment of claiming: which record each is about now, and what that is to be given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import polars as pl

from crm_attribution.contracts.topics import COMPANIES, CONTACTS, IDENTIFY, TRAIT
from crm_attribution.conversions.identify import JOINED, kept_of, plan, signature, stages_of
from crm_attribution.conversions.identify_rules import changed
from crm_attribution.conversions.teller import Resolver, Teller
from crm_attribution.destinations.base import Destination, Resolved
from crm_attribution.destinations.hubspot import RECORD
from crm_attribution.destinations.hubspot_identify import COMPANY, MEMBERSHIPS, PRIMARY
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session


def resolver(destination: Destination, rules: Rules) -> Resolver:
    """Due rows -> what their records are to be given now. A row that does not tell what is wanted now, or would change
    nothing, is suppressed; one that was sent before writes what is wanted now."""
    del destination

    def resolve(session: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        joined = rows.filter(pl.col("action") == MEMBERSHIPS)
        others = rows.filter(pl.col("action") != MEMBERSHIPS)
        return _resolved_records(session, others, rules) | _resolved_memberships(session, joined)

    return resolve


def _resolved_records(session: Session, rows: pl.DataFrame, rules: Rules) -> dict[str, Resolved]:
    subjects = _now(session, rows["milestone_id"])
    kept = kept_of(session, subjects.values())
    records = {(row["object_type"], row["record_id"]) for row in kept.values() if row["record_id"] is not None}
    stages = stages_of(session, records)
    found: dict[str, Resolved] = {}
    for row in rows.iter_rows(named=True):
        mine = kept.get(subjects[row["milestone_id"]])
        sent = row["payload_hash"] is not None
        if mine is None or (mine["wanted_key"] != row["milestone_id"] and not sent):
            found[row["conversion_id"]] = Resolved("granted", suppressed="superseded")
            continue
        kind, record = mine["object_type"], mine["record_id"]
        wanted, told = json.loads(mine["wanted"]), json.loads(mine["told"])
        news = changed(wanted, {} if sent else told, stages.get((kind, record)), rules.lifecycle.order)
        held = None
        if record is None and kind not in rules.write_back.identify.create:
            held = "no_record"
        elif record is not None and (kind, record) not in stages:
            held = "record_unknown"
        found[row["conversion_id"]] = Resolved(
            consent="granted",
            suppressed=None if news else "unchanged",
            held=held,
            contact_id=row["contact_id"] if sent else record if kind == "contacts" else None,
            details=news if record is None else {RECORD: str(record), **news},
        )
    return found


def _now(session: Session, keys: Iterable[str]) -> dict[str, str]:
    """Key of a row -> the subject it is about now, through merges."""
    subjects = {key: key.rpartition(":")[0] for key in keys}
    ids = [int(one.partition(":")[2]) for one in subjects.values() if one.partition(":")[2].isdecimal()]
    merged = session.query(
        "SELECT object_type || ':' || absorbed_id AS was, object_type || ':' || survivor_id AS now FROM raw.merge"
        " SEMI JOIN ids ON absorbed_id = ids.id",
        ids=records_frame("id", ids),
    )
    survivors = dict(merged.iter_rows())
    return {key: survivors.get(one, one) for key, one in subjects.items()}


def _resolved_memberships(session: Session, rows: pl.DataFrame) -> dict[str, Resolved]:
    pairs = rows.select(
        "conversion_id",
        "contact_id",
        "payload_hash",
        record_id=pl.col("milestone_id").str.split(":").list.get(1).cast(pl.Int64),
        company_id=pl.col("milestone_id").str.split(":").list.get(2).cast(pl.Int64),
    )
    live = session.query(
        "SELECT p.conversion_id, p.contact_id, p.payload_hash IS NOT NULL AS sent, c.id AS record_id,"
        " o.id AS company_id, c.associatedcompanyid AS has FROM pairs p"
        " LEFT JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = p.record_id"
        " LEFT JOIN raw.merge n ON n.object_type = 'companies' AND n.absorbed_id = p.company_id"
        " JOIN raw.contact c ON c.id = coalesce(m.survivor_id, p.record_id) AND NOT c.archived"
        " JOIN raw.company o ON o.id = coalesce(n.survivor_id, p.company_id) AND NOT o.archived",
        pairs=pairs,
    )
    new = session.query(f"SELECT conversion_id FROM live WHERE NOT EXISTS (SELECT 1 FROM {JOINED}", live=live)[
        "conversion_id"
    ].to_list()
    found = {
        row["conversion_id"]: Resolved(
            consent="granted",
            suppressed=None if row["sent"] or row["conversion_id"] in new else "unchanged",
            contact_id=row["contact_id"] if row["sent"] else row["record_id"],
            details={COMPANY: str(row["company_id"]), **({} if row["has"] else {PRIMARY: "true"})},
        )
        for row in live.iter_rows(named=True)
    }
    return {key: found.get(key, Resolved("granted", held="record_unknown")) for key in rows["conversion_id"]}


TELLER = Teller(
    topics=(IDENTIFY, CONTACTS, COMPANIES, TRAIT),
    section="write_back",
    not_named="nothing under write_back.identify.tell of the mapping",
    plan=plan,
    resolver=resolver,
    more=signature,
)
