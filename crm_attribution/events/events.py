"""events.event: canonical events of the records that changed, were merged, or whose account did."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.events.own_writes import without_own
from crm_attribution.events.rules import events as event_rules
from crm_attribution.events.rules.deal_events import deal_events
from crm_attribution.events.rules.lifecycle_events import lifecycle_events
from crm_attribution.events.rules.subjects import of_companies, of_persons
from crm_attribution.events.suppression import deals_to_look_at, suppressed
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.identity.lookups import persons_of
from crm_attribution.mapping import Rules
from crm_attribution.raw.merges import absorbed_by, survivors_of
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session


def update(session: Session, changes: Changes, rules: Rules, _: datetime) -> Report:
    """Derive the events of every record that changed, was merged, or whose account did."""
    report = Report()
    for object_type in OBJECT_TYPES:
        ids, live = _families(session, object_type, _dirty(session, object_type, changes, rules))
        if ids.is_empty():
            continue
        frame = _derive(session, object_type, ids, live, rules)
        scope = ids.select(object_id="id").with_columns(object_type=pl.lit(object_type))
        changed = session["events.event"].replace(frame, scope)
        report.changed += changed.filter("_came").height
    report.rows = session.scalar("SELECT count(*) FROM events.event")
    report.figures = dict(
        session.connection.execute("SELECT event, count(*) FROM events.event GROUP BY event ORDER BY event").fetchall()
    )
    return report


def _dirty(session: Session, object_type: str, changes: Changes, rules: Rules) -> list[int]:
    everything = changes.everything or (
        object_type == "deals" and changes.of(topics.PIPELINE_STAGE, topics.ACCOUNT_DETAILS)
    )
    if everything:
        return session.query(f"SELECT id FROM {OBJECT_TYPES[object_type].table}")["id"].to_list()
    found = set(changes.ids(object_type))
    accounts = ids_frame("account_id", changes.of(topics.ACCOUNT))
    if object_type == "deals":
        found |= set(changes.ids(topics.DEAL_ACCOUNT))
        found |= set(session.read_keys("identity.deal_account", accounts)["deal_id"])
        found |= deals_to_look_at(session, records_frame("contact_id", changes.ids(topics.CONTACTS)), rules)
    if object_type == "companies":
        found |= {int(a.removeprefix("company:")) for a in changes.of(topics.ACCOUNT) if a.startswith("company:")}
    if object_type == "contacts":
        members = session.read_keys("identity.membership", accounts)["person_id"]
        persons = ids_frame("person_id", [*members, *changes.of(topics.PERSON)])
        found |= set(
            session.query(
                "SELECT TRY_CAST(identifier AS BIGINT) AS id FROM identity.alias SEMI JOIN persons USING (person_id)"
                " WHERE identifier_type = 'contact'",
                persons=persons,
            )["id"].drop_nulls()
        )
    return sorted(found)


def _families(session: Session, object_type: str, dirty: list[int]) -> tuple[pl.DataFrame, dict[int, int]]:
    """The dirty records with everything merged into the same survivor, whose events are derived together; and
    absorbed id -> live id among them."""
    live = survivors_of(session, object_type, dirty)
    heads = {live.get(record, record) for record in dirty}
    live |= absorbed_by(session, object_type, heads)
    return records_frame("id", [*heads, *live]), live


def _derive(session: Session, object_type: str, ids: pl.DataFrame, live: dict[int, int], rules: Rules) -> pl.DataFrame:
    keys = ids.select(object_id="id").with_columns(object_type=pl.lit(object_type))
    source = event_rules.Source(
        object_type,
        session.read_keys(OBJECT_TYPES[object_type].table, ids).sort("id"),
        _history(session, object_type, keys, rules),
        live,
    )
    if object_type == "deals":
        home = session.scalar("SELECT company_currency FROM raw.account")
        stages, meanings = session.read("raw.pipeline_stage"), session.read("raw.stage_meaning")
        rows = deal_events(source, stages, rules.deals, rules, home, meanings)
        accounts = session.read_keys("identity.deal_account", rows.select(deal_id="record_id").unique())
        rows = rows.join(accounts.select(record_id="deal_id", account_id="account_id"), on="record_id", how="left")
    else:
        rows = lifecycle_events(source, rules.lifecycle, rules)
        rows = (_with_person if object_type == "contacts" else _with_company)(session, rows)
    rows = _account_fields(session, rows)
    return suppressed(session, rows, rules).drop("account_id", "person_id", strict=False)


def _history(session: Session, object_type: str, keys: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """What the records were; of deals also the stages that we moved them to, which are facts as any other."""
    history = session.read_keys("raw.property_history", keys)
    return history if object_type == "deals" else without_own(session, object_type, history, rules)


def _with_person(session: Session, rows: pl.DataFrame) -> pl.DataFrame:
    persons = persons_of(session, rows["object_id"])
    memberships = session.read_keys("identity.membership", persons.select("person_id").unique())
    return of_persons(rows, persons, memberships)


def _with_company(session: Session, rows: pl.DataFrame) -> pl.DataFrame:
    accounts = session.query(
        "SELECT company_id, coalesce(a.account_id, 'company:' || company_id) AS account_id FROM companies"
        " LEFT JOIN identity.account_alias a ON a.alias_id = 'company:' || company_id",
        companies=rows.select(company_id="record_id").unique(),
    )
    return of_companies(rows, accounts)


def _account_fields(session: Session, rows: pl.DataFrame) -> pl.DataFrame:
    accounts = session.read_keys("identity.account", rows.select("account_id").drop_nulls().unique())
    fields = accounts.select(
        "account_id",
        "company_id",
        "target_account",
        company_domain="domain",
        company_name=pl.when(pl.col("company_id").is_not_null()).then("name"),
    )
    return rows.join(fields, on="account_id", how="left", maintain_order="left")
