"""Durable persons: identity.alias, identity.person and identity.person_change, from the components of the graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from crm_attribution.identity.rules import person_ids
from crm_attribution.identity.scope import Scope
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Session

ALIAS, PERSON = "identity.alias", "identity.person"


@dataclass
class Moved:
    """What an update did to persons.

    Attributes:
        persons: every person that gained, lost or changed.
        contacts: contacts that are another person's now.
        between: the persons these contacts left and came to.
    """

    persons: set[str] = field(default_factory=set)
    contacts: set[int] = field(default_factory=set)
    between: set[str] = field(default_factory=set)


def store(
    session: Session,
    scope: Scope,
    refused: pl.DataFrame,
    person: pl.DataFrame,
    as_of: datetime,
    erased: set[int],
    *,
    whole: bool,
) -> Moved:
    """Give the components of a scope their durable persons, and write them.

    Args:
        scope: nodes and edges.
        refused: node_id, identifier_id of the edges that join nobody.
        person: node_id, part: which nodes of the scope are one person.
        as_of: recorded with each merge and split, UTC.
        erased: contact ids that no row of identity.person may name.
        whole: whether the scope is the whole graph.
    """
    allowed = scope.edges.join(refused, on=["node_id", "identifier_id"], how="anti")
    contacts = _contacts(allowed, person)
    numbers = scope.nodes.select("node_id")
    had = session.read(ALIAS) if whole else session.read_keys(ALIAS, numbers)
    before = had.filter(pl.col("identifier_type") == "contact").select(
        "person_id", contact_id=pl.col("identifier").cast(pl.Int64, strict=False)
    )
    known = session.read_keys(PERSON, had.select("person_id").unique())
    result = _assigned(session, contacts, before, known)
    owner = pl.DataFrame(list(result.persons.items()), schema={"contact_id": pl.Int64, "person_id": pl.String},
                         orient="row")  # fmt: skip
    owned = contacts.join(owner, on="contact_id")
    homes = owned.select("component", "person_id").unique()
    nodes = scope.nodes.join(person, on="node_id").drop("component")
    placed = nodes.join(homes, left_on="part", right_on="component")
    alias = placed.select("node_id", "person_id", "identifier", identifier_type="node_type")
    changed = session[ALIAS].replace(alias, None if whole else numbers)
    rows = _without(erased, _person_rows(session, placed, allowed, owned, result, known))
    affected = pl.concat([known.select("person_id"), rows.select("person_id")]).unique()
    changed_person = session[PERSON].replace(rows, affected)
    _record(session, result, as_of)
    left = before.join(owner, on="contact_id", suffix="_now").filter(pl.col("person_id") != pl.col("person_id_now"))
    return Moved(
        set(changed["person_id"]) | set(changed_person["person_id"]),
        set(left["contact_id"]),
        {*left["person_id"], *left["person_id_now"]},
    )


def _contacts(allowed: pl.DataFrame, person: pl.DataFrame) -> pl.DataFrame:
    """contact_id, created_at (UTC), component of the contacts in a scope."""
    return (
        allowed.filter(pl.col("rule") == "self")
        .join(person, on="node_id")
        .select("contact_id", created_at="first_seen", component="part")
    )


def _assigned(
    session: Session, contacts: pl.DataFrame, before: pl.DataFrame, known: pl.DataFrame
) -> person_ids.Assignment:
    seen = {row[0]: person_ids.KnownPerson(*row) for row in known.select("person_id", "first_seen").iter_rows()}
    minted_by = contacts.select(root_contact_id="contact_id")
    taken = set(session.read_keys(PERSON, minted_by)["person_id"])
    return person_ids.assign(contacts, before, seen, taken)


def _without(erased: set[int], rows: pl.DataFrame) -> pl.DataFrame:
    """identity.person rows that name no erased contact."""
    names = ("root_contact_id", "contact_id")
    return rows.with_columns(**{name: pl.when(~pl.col(name).is_in(list(erased))).then(name) for name in names})


def _record(session: Session, result: person_ids.Assignment, as_of: datetime) -> None:
    """Append merges and splits to identity.person_change."""
    if result.changes:
        columns = ["person_id", "other_person_id", "kind", "cause"]
        causes = pl.DataFrame(result.changes, schema=columns, orient="row")
        session["identity.person_change"].append(causes.with_columns(recorded_at=pl.lit(as_of)))


# --- rows of identity.person


def _person_rows(
    session: Session,
    placed: pl.DataFrame,
    allowed: pl.DataFrame,
    contacts: pl.DataFrame,
    result: person_ids.Assignment,
    known: pl.DataFrame,
) -> pl.DataFrame:
    """identity.person rows of the persons in the scope, those that went included.

    Args:
        placed: nodes with their person_id.
        allowed: identity.edge rows that join.
        contacts: contact_id, created_at, person_id.
        result: minted and merged persons.
        known: identity.person rows as they were.
    """
    since = (
        allowed.join(placed.select("node_id", "person_id"), on="node_id")
        .group_by("person_id")
        .agg(first_seen=pl.col("first_seen").min())
    )
    size = placed.group_by("person_id").agg(identifiers=pl.len())
    minted = pl.DataFrame(list(result.minted.items()), schema=["person_id", "_root"], orient="row",
                          schema_overrides={"person_id": pl.String, "_root": pl.Int64})  # fmt: skip
    old = known.select("person_id", "root_contact_id", _first="first_seen")
    living = (
        _representatives(session, contacts)
        .join(since, on="person_id", how="left")
        .join(size, on="person_id", how="left")
        .join(old, on="person_id", how="left")
        .join(minted, on="person_id", how="left")
        .select(
            "person_id",
            "contact_id",
            "contacts",
            "identifiers",
            first_seen=pl.min_horizontal("first_seen", "_first"),
            root_contact_id=pl.coalesce("root_contact_id", "_root"),
            merged_into=pl.lit(None, pl.String),
        )
    )
    return pl.concat([living.select(known.columns), _gone(known, living, result)], how="vertical_relaxed")


def _representatives(session: Session, contacts: pl.DataFrame) -> pl.DataFrame:
    """person_id, contact_id, contacts: of each person the oldest contact that is live, and how many of them it has."""
    absorbed = survivors_of(session, "contacts", contacts["contact_id"]).keys()
    archived = session.query(
        "SELECT id FROM raw.contact SEMI JOIN ids USING (id) WHERE archived", ids=contacts.select(id="contact_id")
    )["id"]
    gone = pl.col("contact_id").is_in(list(absorbed))
    return (
        contacts.with_columns(_gone=gone, _archived=pl.col("contact_id").is_in(archived.implode()))
        .sort("_gone", "_archived", "created_at", "contact_id")
        .group_by("person_id")
        .agg(
            contact_id=pl.col("contact_id").first(),
            contacts=pl.max_horizontal((~pl.col("_gone")).sum(), pl.lit(0)).cast(pl.Int64),
            total=pl.len(),
        )
        .with_columns(contacts=pl.when(pl.col("contacts") == 0).then("total").otherwise("contacts"))
    )


def _gone(known: pl.DataFrame, living: pl.DataFrame, result: person_ids.Assignment) -> pl.DataFrame:
    """identity.person rows of persons without a contact, with the person they were merged into."""
    into = {other: survivor for survivor, other, kind, _ in result.changes if kind == "merge"}
    merged = pl.col("person_id").replace_strict(into, default=None, return_dtype=pl.String)
    return known.join(living, on="person_id", how="anti").with_columns(
        contacts=pl.lit(0), identifiers=pl.lit(0), merged_into=pl.coalesce(merged, "merged_into")
    )


def live_persons(session: Session, person_ids: Iterable[str]) -> dict[str, str]:
    """Each person id ever published -> the person it is now, over any chain of merges; itself where it is live.

    An id that was never published is not in the answer.
    """
    found: dict[str, str | None] = {}
    asked = set(person_ids)
    wanted = set(asked)
    while asked:
        rows = session.read_keys("identity.person", ids_frame("person_id", asked))
        found.update(rows.select("person_id", "merged_into").iter_rows())
        asked = set(rows["merged_into"].drop_nulls()) - found.keys()

    def last(person: str) -> str:
        seen = {person}
        while (following := found.get(person)) is not None and following not in seen:
            person = following
            seen.add(person)
        return person

    return {person: last(person) for person in wanted if person in found}
