"""identity.*: what changed in raw, its closure over shared identifiers, and the persons and accounts that follow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from crm_attribution.mapping import Mapping
from crm_attribution.steps.report import Report
from crm_attribution.transforms import accounts as account_rules
from crm_attribution.transforms import identity as graph
from crm_attribution.transforms.merges import closure
from crm_attribution.warehouse.session import Changes, Session

TOPICS = ["contacts", "companies", "deals"]
CONSUMER = "identity"


def update(session: Session, rules: Mapping, as_of: datetime) -> Report:
    """Bring persons, accounts and memberships up to date with raw; cost follows the changed records.

    Args:
        session: an open session; the whole update is one transaction.
        rules: identity and values sections.
        as_of: end of the run's window, for the change log.
    """
    changes = session.changes(CONSUMER, TOPICS, rules.signature("identity", "values"))
    report = Report()
    with session.transaction():
        if not changes.idle:
            persons = _persons(session, changes, rules, as_of)
            persons |= _accounts(session, changes, rules)
            touched = _memberships(session, changes, persons)
            session.journal("person", persons | touched)
            report.changed = len(persons | touched)
        session.advance(CONSUMER, changes)
    report.rows = session.scalar("SELECT count(*) FROM identity.person WHERE merged_into IS NULL")
    report.facts = quality(session)
    return report


def quality(session: Session) -> dict[str, int | str | float]:
    """Identity in figures: persons, aliases, the largest person, rejected edges by rule."""
    facts: dict[str, int | str | float] = {
        "persons": session.scalar("SELECT count(*) FROM identity.person WHERE merged_into IS NULL"),
        "aliases": session.scalar("SELECT count(*) FROM identity.alias"),
        "largest person (identifiers)": session.scalar(
            "SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM identity.alias GROUP BY person_id)"
        ),
        "accounts": session.scalar("SELECT count(*) FROM identity.account"),
    }
    for rule, count in session.connection.execute(
        "SELECT rule, count(*) FROM identity.edge_rejected GROUP BY rule ORDER BY rule"
    ).fetchall():
        facts[f"rejected edges: {rule}"] = count
    return facts


def merged(session: Session, object_type: str) -> dict[str, str]:
    """absorbed id -> live id of one object type, closed over chains."""
    rows = session.query("SELECT absorbed_id, survivor_id FROM raw.merge WHERE object_type = ?", [object_type])
    return closure(rows)


def ids_frame(name: str, values: Iterable[str]) -> pl.DataFrame:
    """One column of distinct ids."""
    return pl.DataFrame({name: sorted(set(values))}, schema={name: pl.String})


# --- persons


def _persons(session: Session, changes: Changes, rules: Mapping, as_of: datetime) -> set[str]:
    """Recompute the persons of the changed contacts. Returns every person id that gained, lost or changed."""
    dirty = _all_ids(session, "raw.contact") if changes.everything else changes.of("contacts")
    if not dirty:
        return set()
    roots = merged(session, "contacts")
    dirty = sorted({*dirty, *(roots[i] for i in dirty if i in roots)})
    edges, scope = _edges_in_scope(session, dirty)
    refused = graph.rejected(edges, roots, rules.identity)
    session.replace("identity.edge", edges, scope)
    session.replace("identity.edge_rejected", refused, scope)
    allowed = edges.join(refused, on=["contact_id", "identifier_type", "identifier"], how="anti")
    parts = graph.components(allowed)
    return _store_persons(session, parts, allowed, scope, roots, as_of)


def _edges_in_scope(session: Session, dirty: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All edges of the changed contacts, of those who share an identifier with them, and of their persons."""
    fresh = _derive_edges(session, dirty)
    mine = ids_frame("contact_id", dirty)
    old = session.read_keys("identity.edge", mine)
    shared = pl.concat([fresh, old]).select("identifier_type", "identifier").unique()
    contacts = set(dirty)
    while True:  # closes in one round where nobody's person reaches further, in a few where it does
        near = session.query(
            """
            SELECT DISTINCT e.contact_id FROM identity.edge e SEMI JOIN shared s USING (identifier_type, identifier)
            UNION
            SELECT DISTINCT e.contact_id FROM identity.edge e
            JOIN identity.alias a USING (identifier_type, identifier)
            WHERE a.person_id IN (
                SELECT person_id FROM identity.alias WHERE identifier_type = 'contact'
                AND identifier IN (SELECT contact_id FROM contacts))
            """,
            shared=shared,
            contacts=ids_frame("contact_id", contacts),
        )["contact_id"]
        grown = contacts | set(near)
        if grown == contacts:
            break
        contacts = grown
        rest = session.read_keys("identity.edge", ids_frame("contact_id", contacts))
        shared = pl.concat([shared, rest.select("identifier_type", "identifier")]).unique()
    scope = ids_frame("contact_id", contacts)
    kept = session.read_keys("identity.edge", scope).join(mine, on="contact_id", how="anti")
    return pl.concat([fresh, kept]).sort("contact_id", "identifier_type", "identifier"), scope


def _derive_edges(session: Session, contacts: list[str]) -> pl.DataFrame:
    ids = ids_frame("id", contacts)
    history = session.read_keys(
        "raw.property_history",
        ids.select(pl.lit("contacts").alias("object_type"), object_id="id", property=pl.lit("email")),
    )
    merges = session.read_keys("raw.merge", ids.select(pl.lit("contacts").alias("object_type"), survivor_id="id"))
    return graph.edges(session.read_keys("raw.contact", ids), history, merges)


def _store_persons(
    session: Session,
    parts: pl.DataFrame,
    allowed: pl.DataFrame,
    scope: pl.DataFrame,
    roots: dict[str, str],
    as_of: datetime,
) -> set[str]:
    contacts = session.query(
        "SELECT id, created_at FROM raw.contact SEMI JOIN scope ON raw.contact.id = scope.contact_id", scope=scope
    )
    created = dict(contacts.iter_rows())
    before_rows = session.query(
        "SELECT identifier AS contact_id, person_id FROM identity.alias SEMI JOIN scope"
        " ON identity.alias.identifier = scope.contact_id WHERE identifier_type = 'contact'",
        scope=scope,
    )
    before = dict(before_rows.iter_rows())
    known_rows = session.read_keys("identity.person", ids_frame("person_id", before.values()))
    known = {
        row["person_id"]: graph.KnownPerson(row["person_id"], row["first_seen"], row["root_contact_id"])
        for row in known_rows.iter_rows(named=True)
    }
    taken = set(session.read_keys("identity.person", ids_frame("root_contact_id", created))["person_id"])
    result = graph.assign(parts, created, before, known, taken)
    alias = (
        allowed.select("identifier_type", "identifier", person_id=pl.col("contact_id").replace_strict(result.persons))
        .unique(["identifier_type", "identifier"])
        .sort("identifier_type", "identifier")
    )
    affected = ids_frame("person_id", [*before.values(), *result.persons.values()])
    changed_alias = session.replace("identity.alias", alias, _alias_scope(session, affected, alias))
    changed_person = session.replace(
        "identity.person", _person_rows(result, known_rows, allowed, created, roots), affected
    )
    causes = [
        {"person_id": p, "other_person_id": o, "kind": kind, "cause": cause, "recorded_at": as_of}
        for p, o, kind, cause in result.changes
    ]
    if causes:
        session.append("identity.person_change", pl.DataFrame(causes))
    return set(changed_alias["person_id"]) | set(changed_person["person_id"])


def _alias_scope(session: Session, persons: pl.DataFrame, alias: pl.DataFrame) -> pl.DataFrame:
    """Every identifier the affected persons have or had."""
    had = session.read_keys("identity.alias", persons)
    return pl.concat([had, alias]).select("identifier_type", "identifier").unique()


def _person_rows(
    result: graph.Assignment,
    known: pl.DataFrame,
    allowed: pl.DataFrame,
    created: dict[str, datetime],
    roots: dict[str, str],
) -> pl.DataFrame:
    seen = dict(
        allowed.with_columns(person_id=pl.col("contact_id").replace_strict(result.persons))
        .group_by("person_id")
        .agg(pl.col("first_seen").min())
        .iter_rows()
    )
    members: dict[str, list[str]] = {}
    for contact, person in result.persons.items():
        members.setdefault(person, []).append(contact)
    memory = {row["person_id"]: row for row in known.iter_rows(named=True)}
    rows = []
    for person, contacts in members.items():
        live = [contact for contact in contacts if contact not in roots] or contacts
        speaker = min(live, key=lambda c: (created[c], len(c), c))
        old = memory.get(person)
        rows.append(
            {
                "person_id": person,
                "first_seen": min(seen[person], old["first_seen"]) if old else seen[person],
                "root_contact_id": old["root_contact_id"] if old else result.minted[person],
                "contact_id": speaker,
                "contacts": len(live),
                "merged_into": None,
            }
        )
    into = {other: survivor for survivor, other, kind, _ in result.changes if kind == "merge"}
    for person, row in memory.items():
        if person not in members:
            rows.append({**row, "contacts": 0, "merged_into": into.get(person, row["merged_into"])})
    return pl.DataFrame(rows, infer_schema_length=None)


# --- accounts


def _accounts(session: Session, changes: Changes, rules: Mapping) -> set[str]:
    """Accounts and the deals' accounts. Returns persons whose memberships must be looked at again."""
    moved = merged(session, "companies")
    companies = _all_ids(session, "raw.company") if changes.everything else changes.of("companies")
    companies = sorted({*companies, *(moved[i] for i in companies if i in moved)})
    deals = _all_ids(session, "raw.deal") if changes.everything else changes.of("deals")
    keys = [f"company:{company}" for company in companies]
    rows = session.read_keys("raw.company", ids_frame("id", companies))
    frame = account_rules.accounts(rows, set(moved), rules.values.target_account_property)
    changed = session.replace("identity.account", frame, ids_frame("account_id", keys))
    held = ids_frame("account_id", keys)
    deals = sorted({*deals, *session.read_keys("identity.deal_account", held)["deal_id"]})
    changed_deals = _deal_accounts(session, deals, moved)
    session.journal("account", {*changed["account_id"], *changed_deals["account_id"]})
    session.journal("deal_account", changed_deals["deal_id"])
    return set(session.read_keys("identity.membership", held)["person_id"])


def _deal_accounts(session: Session, deals: list[str], companies: dict[str, str]) -> pl.DataFrame:
    """identity.deal_account of some deals, and an account for each that has no company."""
    gone = merged(session, "deals")
    live = ids_frame("id", [deal for deal in deals if deal not in gone])
    rows = session.read_keys("raw.deal", live)
    associations = session.read_keys(
        "raw.association",
        live.select(pl.lit("deals").alias("from_type"), from_id="id", to_type=pl.lit("companies")),
    )
    frame = account_rules.deal_accounts(rows, associations, companies)
    changed = session.replace("identity.deal_account", frame, ids_frame("deal_id", deals))
    own = frame.filter(pl.col("basis") == "own").join(rows, left_on="deal_id", right_on="id")
    solitary = own.select("account_id", name="dealname", owner_id="hubspot_owner_id")
    session.replace("identity.account", solitary, ids_frame("account_id", [f"deal:{deal}" for deal in deals]))
    return changed


def _memberships(session: Session, changes: Changes, persons: set[str]) -> set[str]:
    """Memberships of the changed contacts' persons. Returns the persons whose memberships changed."""
    if changes.everything:
        persons = set(session.query("SELECT person_id FROM identity.person")["person_id"])
    contacts = ids_frame("identifier", changes.of("contacts"))
    mine = session.query(
        "SELECT DISTINCT person_id FROM identity.alias SEMI JOIN contacts USING (identifier)"
        " WHERE identifier_type = 'contact'",
        contacts=contacts,
    )
    scope = ids_frame("person_id", {*persons, *mine["person_id"]})
    if scope.is_empty():
        return set()
    gone = merged(session, "contacts")
    alias = session.query(
        "SELECT identifier AS contact_id, person_id FROM identity.alias SEMI JOIN scope USING (person_id)"
        " WHERE identifier_type = 'contact'",
        scope=scope,
    ).filter(~pl.col("contact_id").is_in(list(gone)))
    ids = alias.select(id="contact_id")
    history = session.read_keys(
        "raw.property_history",
        ids.select(pl.lit("contacts").alias("object_type"), object_id="id", property=pl.lit("associatedcompanyid")),
    )
    associations = session.read_keys(
        "raw.association", ids.select(pl.lit("contacts").alias("from_type"), from_id="id", to_type=pl.lit("companies"))
    )
    frame = account_rules.memberships(
        session.read_keys("raw.contact", ids),
        history,
        associations,
        dict(alias.iter_rows()),
        merged(session, "companies"),
    )
    return set(session.replace("identity.membership", frame, scope)["person_id"])


def _all_ids(session: Session, table: str) -> list[str]:
    return session.query(f"SELECT id FROM {table} ORDER BY id")["id"].to_list()
