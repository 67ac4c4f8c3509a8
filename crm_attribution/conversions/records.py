"""What HubSpot's contacts and deals are given by their newest touch: planned once for each state, written on change.

A row's key names the record, its newest touch and how many clicks it counts, so that an older touch that comes late
makes no new newest one. What is written is the state at the moment of claiming, never that of planning: a row that is
sent again, or late, can put nothing older in the place of something newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crm_attribution.contracts.topics import DEALS, TOUCH_PERSON
from crm_attribution.conversions import told_rules
from crm_attribution.conversions.teller import OF_CLICK, OF_TOUCH, Resolver, Teller, Work
from crm_attribution.destinations.base import Destination, Resolved
from crm_attribution.destinations.hubspot import RECORD
from crm_attribution.destinations.normal_form import same
from crm_attribution.mapping import Rules
from crm_attribution.mapping.write_back import RECORDS, TOLD_KINDS
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

_TABLES = {"contacts": "raw.contact", "deals": "raw.deal"}
_KINDS = ", ".join(f"'{kind}'" for kind in TOLD_KINDS)
_OWNED = f"""
SELECT t.touch_id, coalesce(m.survivor_id, t.contact_id) AS contact_id, t.person_id
FROM attribution.touch t
LEFT JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = t.contact_id
WHERE t.kind IN ({_KINDS}) AND t.contact_id IS NOT NULL
"""
_RECORDS = {
    "contacts": f"SELECT o.contact_id AS record_id, o.touch_id FROM ({_OWNED}) o"
    " SEMI JOIN ids ON o.contact_id = ids.id",
    "deals": "SELECT DISTINCT a.from_id AS record_id, o.touch_id FROM raw.association a"
    f" JOIN ({_OWNED}) o ON o.contact_id = a.to_id SEMI JOIN ids ON a.from_id = ids.id"
    " WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL",
}
_DETAILS = f"""
SELECT o.record_id, t.touch_id, {OF_TOUCH}, {OF_CLICK}, f.act
FROM ({{}}) o JOIN attribution.touch t USING (touch_id)
LEFT JOIN raw.link_click k ON t.kind = 'link_click' AND t.touch_id = 'click:' || k.click_id
LEFT JOIN raw.offline_touch f ON t.kind = 'offline_touch' AND t.touch_id = 'offline:' || f.touch_id
"""


def plan(work: Work) -> list[str]:
    """Plan the records of changed persons and deals; returns the new conversion ids."""
    told, seen, new = work.rules.write_back, work.seen(), list[str]()
    for kind, action in work.rules.named(work.destination.name):
        states = states_of(work.session, kind, _changed(work.session, kind, work.changes), told.properties.days)
        fresh = states.filter(pl.col("touched_at") > work.oldest)
        new += work.insert(_rows(kind, fresh, work.begin(seen.get((kind, action)), told.send_from)))
    return new


def _changed(session: Session, kind: str, changes: Changes) -> pl.DataFrame:
    """`id` of contacts or deals that may have another state."""
    if changes.everything:
        sql = {"contacts": f"SELECT DISTINCT contact_id AS id FROM ({_OWNED})", "deals": "SELECT id FROM raw.deal"}[
            kind
        ]
        return session.query(sql)
    contacts = session.query(
        f"SELECT DISTINCT contact_id AS id FROM ({_OWNED}) SEMI JOIN persons USING (person_id)",
        persons=changes.frame(TOUCH_PERSON),
    )
    if kind == "contacts":
        return contacts
    of_contacts = session.query(
        "SELECT DISTINCT a.from_id AS id FROM raw.association a SEMI JOIN contacts ON a.to_id = contacts.id"
        " WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL",
        contacts=contacts,
    )
    return pl.concat([of_contacts, records_frame("id", changes.ids(DEALS))]).unique()


def states_of(session: Session, kind: str, ids: pl.DataFrame, days: int) -> pl.DataFrame:
    """The newest touch of each record, with `clicks`: link clicks in the `days` up to it, both ends included.

    Returns:
        record_id Int64, key String, clicks Int64 and the columns of the touch; nothing for a record without touches.
    """
    touches = session.query(_DETAILS.format(_RECORDS[kind]), ids=ids)
    newest = touches.sort("record_id", "touched_at", "touch_id").unique("record_id", keep="last", maintain_order=True)
    last = newest.select("record_id", _last="touched_at")
    recent = touches.filter(pl.col("kind") == "link_click").join(last, on="record_id")
    recent = recent.filter(pl.col("touched_at") >= pl.col("_last") - timedelta(days=days))
    counted = recent.group_by("record_id").agg(clicks=pl.len().cast(pl.Int64))
    return newest.join(counted, on="record_id", how="left", maintain_order="left").with_columns(
        pl.col("clicks").fill_null(0),
        key=pl.format("{}:{}:{}:{}", pl.lit(kind), "record_id", "touch_id", pl.col("clicks").fill_null(0)),
    )


def _rows(kind: str, states: pl.DataFrame, begin: datetime) -> pl.DataFrame:
    return states.select(
        action=pl.lit(kind),
        milestone=pl.lit(kind),
        milestone_id="key",
        occurred_at="touched_at",
        ready_at=pl.max_horizontal("touched_at", "received_at"),
        reason=pl.when(pl.col("touched_at") < begin).then(pl.lit("before_activation")),
    )


def resolver(destination: Destination, rules: Rules) -> Resolver:
    """Due rows -> what their records are to be given now. A row that is not of the newest state, or would change
    nothing, is suppressed; one that was sent before writes what holds now."""
    del destination

    def resolve(session: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        found: dict[str, Resolved] = {}
        for kind in RECORDS:
            mine = rows.filter(pl.col("action") == kind).with_columns(
                record_id=pl.col("milestone_id").str.split(":").list.get(1).cast(pl.Int64)
            )
            if mine.is_empty():
                continue
            ids = records_frame("id", mine["record_id"])
            states = states_of(session, kind, ids, rules.write_back.properties.days)
            known = {row["record_id"]: row for row in states.iter_rows(named=True)}
            stored = _stored(session, kind, ids, list(rules.write_back.properties.of(kind)))
            for row in mine.iter_rows(named=True):
                state = known.get(row["record_id"])
                if state is not None and row["record_id"] in stored:
                    found[row["conversion_id"]] = _resolved(row, kind, state, stored[row["record_id"]], rules)
        return found

    return resolve


def _stored(session: Session, kind: str, ids: pl.DataFrame, names: list[str]) -> dict[int, dict[str, Any]]:
    """Record -> what HubSpot has of the properties, and whether it is archived."""
    rows = session.query(
        "SELECT r.id, r.archived, coalesce(json_extract_string(r.properties, CAST(? AS VARCHAR[])), []) AS texts"
        f" FROM {_TABLES[kind]} r SEMI JOIN ids USING (id)",
        [[f'$."{name}"' for name in names]],
        ids=ids,
    )
    return {
        row["id"]: {"archived": row["archived"], "has": dict(zip(names, row["texts"], strict=False))}
        for row in rows.iter_rows(named=True)
    }


def _resolved(row: dict[str, Any], kind: str, state: dict[str, Any], stored: dict[str, Any], rules: Rules) -> Resolved:
    values = rules.write_back.properties.of(kind)
    texts = {name: told_rules.rendered(value.text, state) for name, value in values.items()}
    sent = row["payload_hash"] is not None
    known = {name: text for name, text in texts.items() if not values[name].options or text in values[name].options}
    changed = {name: text for name, text in known.items() if text and (sent or not same(text, stored["has"].get(name)))}
    suppressed = None
    if not sent and row["milestone_id"] != state["key"]:
        suppressed = "superseded"
    elif not changed:
        suppressed = "unchanged" if known.keys() == texts.keys() else "no_such_option"
    return Resolved(
        consent="granted",
        suppressed=suppressed,
        held=f"{kind[:-1]}_archived" if stored["archived"] else None,
        contact_id=row["record_id"] if kind == "contacts" else None,
        touch_id=row["touch_id"] if sent else state["touch_id"],
        details={RECORD: str(row["record_id"]), **changed},
    )


TELLER = Teller(
    topics=(TOUCH_PERSON, DEALS),
    section="write_back",
    not_named="no properties under write_back.properties of the mapping",
    plan=plan,
    resolver=resolver,
)
