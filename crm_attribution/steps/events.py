"""events.*: canonical events of the changed records, and the milestones of the persons and accounts they touch."""

from __future__ import annotations

import polars as pl

from crm_attribution.mapping import Mapping
from crm_attribution.steps.clicks import persons_of
from crm_attribution.steps.identity import ids_frame, merged
from crm_attribution.steps.report import Report
from crm_attribution.transforms import events as event_rules
from crm_attribution.transforms import milestones as milestone_rules
from crm_attribution.transforms.accounts import account_at
from crm_attribution.transforms.values import measures, needed_properties
from crm_attribution.warehouse.session import Changes, Session

RECORD_TABLES = {"contacts": "raw.contact", "companies": "raw.company", "deals": "raw.deal"}
EVENT_TOPICS = [
    "contacts",
    "companies",
    "deals",
    "account",
    "deal_account",
    "person",
    "pipeline_stage",
    "account_details",
]
EVENT_CONSUMER = "events"
MILESTONE_TOPICS = ["event_contacts", "event_companies", "event_deals", "deals", "person", "account", "deal_account"]
MILESTONE_CONSUMER = "milestones"
_SECTIONS = ("version", "lifecycle", "deals", "values", "suppression", "milestones")


def update_events(session: Session, rules: Mapping) -> Report:
    """Derive the events of every record that changed, was merged, or whose account did."""
    changes = session.changes(EVENT_CONSUMER, EVENT_TOPICS, rules.signature(*_SECTIONS))
    report = Report()
    with session.transaction():
        for object_type in RECORD_TABLES:
            ids = _families(session, object_type, _dirty(session, object_type, changes))
            if ids.is_empty():
                continue
            frame = _derive(session, object_type, ids, rules)
            scope = ids.select(object_id="id").with_columns(object_type=pl.lit(object_type))
            changed = session.replace("events.event", frame, scope)
            session.journal(f"event_{object_type}", changed["record_id"])
            report.changed += changed.filter("_came").height
        session.advance(EVENT_CONSUMER, changes)
    report.rows = session.scalar("SELECT count(*) FROM events.event")
    report.facts = dict(
        session.connection.execute("SELECT event, count(*) FROM events.event GROUP BY event ORDER BY event").fetchall()
    )
    return report


def _dirty(session: Session, object_type: str, changes: Changes) -> list[str]:
    everything = changes.everything or (object_type == "deals" and changes.of("pipeline_stage", "account_details"))
    if everything:
        return session.query(f"SELECT id FROM {RECORD_TABLES[object_type]}")["id"].to_list()
    found = set(changes.of(object_type))
    accounts = ids_frame("account_id", changes.of("account"))
    if object_type == "deals":
        found |= set(changes.of("deal_account"))
        found |= set(session.read_keys("identity.deal_account", accounts)["deal_id"])
    if object_type == "companies":
        found |= {a.removeprefix("company:") for a in changes.of("account") if a.startswith("company:")}
    if object_type == "contacts":
        members = session.read_keys("identity.membership", accounts)["person_id"]
        persons = ids_frame("person_id", [*members, *changes.of("person")])
        found |= set(
            session.query(
                "SELECT identifier FROM identity.alias SEMI JOIN persons USING (person_id)"
                " WHERE identifier_type = 'contact'",
                persons=persons,
            )["identifier"]
        )
    return sorted(found)


def _families(session: Session, object_type: str, dirty: list[str]) -> pl.DataFrame:
    """The dirty records with everything merged into the same survivor: their events are told together."""
    live = merged(session, object_type)
    heads = {live.get(record, record) for record in dirty}
    members = [absorbed for absorbed, survivor in live.items() if survivor in heads]
    return ids_frame("id", [*heads, *members])


def _derive(session: Session, object_type: str, ids: pl.DataFrame, rules: Mapping) -> pl.DataFrame:
    keys = ids.select(object_id="id").with_columns(object_type=pl.lit(object_type))
    source = event_rules.Source(
        object_type,
        session.read_keys(RECORD_TABLES[object_type], ids).sort("id"),
        session.read_keys("raw.property_history", keys),
        merged(session, object_type),
    )
    if object_type == "deals":
        home = session.scalar("SELECT company_currency FROM raw.account")
        rows = event_rules.deal_events(source, session.read("raw.pipeline_stage"), rules.deals, rules, home)
        accounts = session.read_keys("identity.deal_account", rows.select(deal_id="record_id").unique())
        rows = rows.join(accounts.select(record_id="deal_id", account_id="account_id"), on="record_id", how="left")
    else:
        rows = event_rules.lifecycle_events(source, rules.lifecycle, rules)
        rows = with_account(session, rows, object_type)
    rows = _account_fields(session, rows)
    return _suppressed(session, rows, rules).drop("account_id", "person_id", strict=False)


def with_account(session: Session, rows: pl.DataFrame, object_type: str) -> pl.DataFrame:
    """Add person_id and the account of that moment to lifecycle events."""
    if object_type == "companies":
        return rows.with_columns(person_id=pl.lit(None, pl.String), account_id=pl.lit("company:") + pl.col("record_id"))
    persons = persons_of(session, rows["object_id"])
    rows = rows.join(persons, left_on="object_id", right_on="contact_id", how="left", maintain_order="left")
    membership = session.read_keys("identity.membership", rows.select("person_id").drop_nulls().unique())
    return account_at(rows, "occurred_at", membership)


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


def _suppressed(session: Session, rows: pl.DataFrame, rules: Mapping) -> pl.DataFrame:
    """Mark internal and test traffic with the rule that says so."""
    domains = [domain.lower() for domain in rules.suppression.domains]
    own = pl.lit(None, pl.String)
    if "contact_id" in rows.columns:
        emails = session.query(
            "SELECT id AS contact_id, lower(split_part(email, '@', 2)) AS _domain FROM raw.contact"
            " SEMI JOIN ids ON raw.contact.id = ids.contact_id",
            ids=ids_frame("contact_id", rows["contact_id"].drop_nulls()),
        )
        rows = rows.join(emails, on="contact_id", how="left", maintain_order="left")
        own = (
            pl.when(pl.col("contact_id").is_in(rules.suppression.contact_ids))
            .then(pl.lit("contact_ids"))
            .when(pl.col("_domain").is_in(domains))
            .then(pl.lit("email_domain"))
        )
    company = pl.when(pl.col("company_domain").is_in(domains)).then(pl.lit("company_domain"))
    return rows.with_columns(suppressed_by=pl.coalesce(own, company)).drop("_domain", strict=False)


# --- milestones


def update_milestones(session: Session, rules: Mapping) -> Report:
    """Recompute the milestones of every person and account that an event, a merge or a deal touched."""
    changes = session.changes(MILESTONE_CONSUMER, MILESTONE_TOPICS, rules.signature(*_SECTIONS))
    report = Report()
    with session.transaction():
        persons, accounts = _touched(session, changes)
        if persons or accounts:
            accounts |= _reached(session, persons, accounts)
            frame = milestone_rules.milestones(_facts(session, persons, accounts, rules), rules)
            groups = ids_frame("group_key", [*(f"person:{p}" for p in persons), *(f"account:{a}" for a in accounts)])
            frame = frame.join(groups, on="group_key", how="semi")
            changed = session.replace("events.milestone", frame, groups)
            key = pl.concat_str("milestone", "milestone_id", separator="|")
            session.journal("milestone", changed.select(key)["milestone"])
            session.journal("milestone_account", changed["account_id"])
            report.changed = changed.filter("_came").height
        session.advance(MILESTONE_CONSUMER, changes)
    report.rows = session.scalar("SELECT count(*) FROM events.milestone")
    report.facts = dict(
        session.connection.execute(
            "SELECT milestone || ' (' || state || ')', count(*) FROM events.milestone GROUP BY 1 ORDER BY 1"
        ).fetchall()
    )
    return report


def _touched(session: Session, changes: Changes) -> tuple[set[str], set[str]]:
    """Persons and accounts whose milestones may be others now, with those they had been counted under."""
    if changes.everything:
        persons = set(session.query("SELECT person_id FROM identity.person")["person_id"])
        accounts = set(session.query("SELECT account_id FROM identity.account")["account_id"])
        accounts |= set(session.query("SELECT account_id FROM identity.deal_account")["account_id"])
        accounts |= set(session.query("SELECT account_id FROM identity.membership")["account_id"])
        return persons, accounts
    contacts = pl.Series(changes.of("event_contacts"), dtype=pl.String)
    deals = ids_frame("deal_id", changes.of("event_deals", "deals", "deal_account"))
    persons = set(changes.of("person")) | set(persons_of(session, contacts)["person_id"])
    persons |= _persons_on(session, deals) | _once_linked_persons(session, deals)
    who = ids_frame("person_id", persons)
    accounts = set(changes.of("account")) | {f"company:{c}" for c in changes.of("event_companies")}
    accounts |= set(session.read_keys("identity.deal_account", deals)["account_id"]) | _accounts_of(session, who)
    former = session.read_keys("events.milestone", who)["account_id"]
    former_deals = session.read_keys("events.milestone", deals)["account_id"]
    accounts |= set(former.drop_nulls()) | set(former_deals.drop_nulls()) | _once_linked_accounts(session, who)
    return persons, accounts


def _reached(session: Session, persons: set[str], accounts: set[str]) -> set[str]:
    """The accounts of the deals that lifecycle events of these persons and accounts may repeat or be adopted by."""
    everyone = ids_frame("person_id", persons | _members(session, ids_frame("account_id", accounts)))
    deals = ids_frame("deal_id", _deals_of(session, everyone))
    return set(session.read_keys("identity.deal_account", deals)["account_id"])


def _facts(session: Session, persons: set[str], accounts: set[str], rules: Mapping) -> milestone_rules.Facts:
    """All that decides the milestones of these persons and accounts.

    Lifecycle events reach an account's deals from its members and from the contacts of its deals; whether such an
    event is the first of its own account, and what other deals are nearer, only that account's facts tell.
    """
    own = ids_frame("account_id", accounts)
    own_deals = ids_frame("deal_id", session.read_keys("identity.deal_account", own)["deal_id"])
    told = ids_frame("person_id", persons | _members(session, own) | _persons_on(session, own_deals))
    near = ids_frame("account_id", accounts | _accounts_of(session, told))
    who = ids_frame("person_id", {*told["person_id"], *_members(session, near)})
    deals = {*session.read_keys("identity.deal_account", near)["deal_id"], *_deals_of(session, who)}
    return _facts_of(session, who, near, _deals(session, ids_frame("id", deals), rules))


def _facts_of(
    session: Session, who: pl.DataFrame, accounts: pl.DataFrame, deals: pl.DataFrame
) -> milestone_rules.Facts:
    contacts = session.query(
        "SELECT identifier AS object_id FROM identity.alias SEMI JOIN who USING (person_id)"
        " WHERE identifier_type = 'contact'",
        who=who,
    ).with_columns(object_type=pl.lit("contacts"))
    companies = ids_frame(
        "record_id", [a.removeprefix("company:") for a in accounts["account_id"] if a.startswith("company:")]
    ).with_columns(object_type=pl.lit("companies"))
    by_contact = with_account(session, session.read_keys("events.event", contacts), "contacts")
    by_company = with_account(session, session.read_keys("events.event", companies), "companies")
    by_deal = session.read_keys(
        "events.event", deals.select(record_id="deal_id").with_columns(object_type=pl.lit("deals"))
    ).with_columns(person_id=pl.lit(None, pl.String), account_id=pl.lit(None, pl.String))
    columns = by_contact.columns
    return milestone_rules.Facts(
        events=pl.concat([by_contact, by_company.select(columns), by_deal.select(columns)]),
        deals=deals,
        deal_persons=_deal_persons(session, deals.select("deal_id")),
        time_zone=session.scalar("SELECT time_zone FROM raw.account") or "UTC",
    )


def _members(session: Session, accounts: pl.DataFrame) -> set[str]:
    return set(session.read_keys("identity.membership", accounts)["person_id"])


def _accounts_of(session: Session, persons: pl.DataFrame) -> set[str]:
    return set(session.read_keys("identity.membership", persons)["account_id"])


def _persons_on(session: Session, deals: pl.DataFrame) -> set[str]:
    return set(_deal_persons(session, deals)["person_id"])


def _once_linked_persons(session: Session, deals: pl.DataFrame) -> set[str]:
    """Persons whose lifecycle changes these deals' milestones told so far, though they may have left the deal."""
    contacts = session.query(
        "SELECT DISTINCT e.contact_id FROM events.event e SEMI JOIN"
        " (SELECT unnest(linked_event_ids) AS event_id FROM events.milestone SEMI JOIN deals USING (deal_id)) USING"
        " (event_id) WHERE e.contact_id IS NOT NULL",
        deals=deals,
    )
    return set(persons_of(session, contacts["contact_id"])["person_id"])


def _once_linked_accounts(session: Session, persons: pl.DataFrame) -> set[str]:
    """Accounts whose milestones these persons' events told so far, though they may belong elsewhere now."""
    return set(
        session.query(
            "SELECT DISTINCT account_id FROM (SELECT account_id, unnest(linked_event_ids) AS event_id"
            " FROM events.milestone WHERE account_id IS NOT NULL) SEMI JOIN (SELECT e.event_id FROM events.event e"
            " JOIN identity.alias a ON a.identifier_type = 'contact' AND a.identifier = e.contact_id"
            " SEMI JOIN persons ON a.person_id = persons.person_id) USING (event_id)",
            persons=persons,
        )["account_id"]
    )


def _deals_of(session: Session, persons: pl.DataFrame) -> list[str]:
    return session.query(
        "SELECT DISTINCT a.from_id FROM raw.association a JOIN identity.alias i"
        " ON i.identifier_type = 'contact' AND i.identifier = a.to_id SEMI JOIN persons"
        " ON i.person_id = persons.person_id"
        " WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL",
        persons=persons,
    )["from_id"].to_list()


def _deal_persons(session: Session, deals: pl.DataFrame) -> pl.DataFrame:
    """deal_id, person_id of the deals' contacts."""
    return session.query(
        "SELECT DISTINCT a.from_id AS deal_id, i.person_id FROM raw.association a JOIN identity.alias i"
        " ON i.identifier_type = 'contact' AND i.identifier = a.to_id SEMI JOIN deals ON a.from_id = deals.deal_id"
        " WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL ORDER BY 1, 2",
        deals=deals,
    )


def _deals(session: Session, ids: pl.DataFrame, rules: Mapping) -> pl.DataFrame:
    """Live deals with their account and what they are worth now."""
    gone = merged(session, "deals")
    records = session.read_keys("raw.deal", ids).filter(~pl.col("id").is_in(list(gone)))
    names = needed_properties(rules.values)
    texts = {name: pl.col("properties").str.json_path_match(f"$.{name}") for name in names if name != "amount"}
    minor = pl.col("amount")
    rows = records.with_columns(**texts, _amount=minor, amount=pl.lit(None, pl.String))
    valued = measures(rows, rules.values, given_amount="_amount")
    accounts = session.read_keys("identity.deal_account", records.select(deal_id="id"))
    return (
        valued.rename({"id": "deal_id"})
        .join(accounts.select("deal_id", "account_id"), on="deal_id", how="left")
        .with_columns(account_id=pl.coalesce("account_id", pl.lit("deal:") + pl.col("deal_id")))
        .select("deal_id", "account_id", "archived", "closedate", "currency", "amount", "mrr", "arr", "tcv")
    )
