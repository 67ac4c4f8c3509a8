"""Persons: connected components over the allowed edges between contacts and identifiers.

A graph is a pure function of its edges: rules look at the whole edge set of an identifier, never at arrival order.
Person ids are memory: the oldest survives a merge, the part with the oldest contact keeps the id in a split.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from crm_attribution import identifiers
from crm_attribution.mapping import Identity


def edges(contacts: pl.DataFrame, email_history: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    """Every edge the given contacts' records imply.

    Args:
        contacts: raw.contact rows.
        email_history: raw.property_history rows of `email` for these contacts.
        merges: raw.merge rows of contacts whose survivor is among these contacts.

    Returns:
        identity.edge columns: contact_id, identifier_type, identifier, rule, source, first_seen.
    """
    own = pl.lit("raw.contact:") + pl.col("id")
    self_edges = contacts.select(
        contact_id="id",
        identifier_type=pl.lit("contact"),
        identifier="id",
        rule=pl.lit("self"),
        source=own,
        first_seen="created_at",
    )
    created = contacts.select(pl.col("id").alias("survivor_id"), "created_at")
    merged = merges.join(created, on="survivor_id").select(
        contact_id="survivor_id",
        identifier_type=pl.lit("contact"),
        identifier="absorbed_id",
        rule=pl.lit("merge"),
        source=pl.lit("raw.merge:contacts:") + pl.col("absorbed_id"),
        first_seen=pl.coalesce("merged_at", "created_at"),
    )
    primary = contacts.select(
        contact_id="id", identifier="email", rule=pl.lit("primary_email"), source=own, first_seen="created_at"
    )
    additional = contacts.explode("additional_emails").select(
        contact_id="id",
        identifier="additional_emails",
        rule=pl.lit("additional_email"),
        source=own,
        first_seen="created_at",
    )
    former = email_history.select(
        contact_id="object_id",
        identifier="value",
        rule=pl.lit("email_history"),
        source=pl.lit("raw.property_history:contacts:") + pl.col("object_id") + ":email",
        first_seen="timestamp",
    )
    emails = pl.concat([primary, additional, former])
    names = {text: identifiers.normalise_email(text) for text in emails["identifier"].unique().drop_nulls()}
    emails = emails.with_columns(
        identifier=pl.col("identifier").replace_strict(names, default=None, return_dtype=pl.String),
        identifier_type=pl.lit("email"),
    ).drop_nulls("identifier")
    columns = ["contact_id", "identifier_type", "identifier", "rule", "source", "first_seen"]
    strength = {"self": 0, "merge": 1, "primary_email": 2, "additional_email": 3, "email_history": 4}
    return (
        pl.concat([self_edges.select(columns), merged.select(columns), emails.select(columns)])
        .with_columns(_strength=pl.col("rule").replace_strict(strength, return_dtype=pl.Int64))
        .sort("_strength", "first_seen", "source")
        .unique(["contact_id", "identifier_type", "identifier"], keep="first", maintain_order=True)
        .drop("_strength")
        .sort("contact_id", "identifier_type", "identifier")
    )


def rejected(all_edges: pl.DataFrame, roots: dict[str, str], rules: Identity) -> pl.DataFrame:
    """The edges that may join nobody, with the rule.

    Args:
        all_edges: identity.edge rows; complete for every e-mail in it.
        roots: absorbed contact id -> live contact id (a merged record is one contact, not two).
        rules: blocked values, role mailboxes and the limit for shared identifiers.

    Returns:
        identity.edge_rejected columns.
    """
    local = pl.col("identifier").str.split("@").list.first()
    root = pl.col("contact_id").replace(roots) if roots else pl.col("contact_id")
    return (
        all_edges.filter(pl.col("identifier_type") == "email")
        .with_columns(_shared=root.n_unique().over("identifier") > rules.shared_identifier_contacts)
        .with_columns(
            rule=pl.when(pl.col("identifier").is_in(rules.blocked_values) | local.is_in(rules.blocked_values))
            .then(pl.lit("blocked_value"))
            .when(local.is_in(rules.role_mailboxes))
            .then(pl.lit("role_mailbox"))
            .when("_shared")
            .then(pl.lit("shared_identifier"))
        )
        .drop_nulls("rule")
        .select("contact_id", "identifier_type", "identifier", "rule", "source")
    )


def components(allowed: pl.DataFrame) -> pl.DataFrame:
    """Connected components of contacts over their identifiers.

    Args:
        allowed: contact_id, identifier_type, identifier.

    Returns:
        contact_id and component (the smallest contact id in it, by text).
    """
    if allowed.is_empty():
        return pl.DataFrame(schema={"contact_id": pl.String, "component": pl.String})
    left = pl.lit("contact:") + pl.col("contact_id")
    right = pl.col("identifier_type") + ":" + pl.col("identifier")
    pairs = allowed.select(left=left, right=right)
    nodes = pl.concat([pairs["left"], pairs["right"]]).unique().sort()
    index = pl.DataFrame({"node": nodes}).with_row_index("i")
    u = pairs.join(index, left_on="left", right_on="node", maintain_order="left")["i"].to_numpy()
    v = pairs.join(index, left_on="right", right_on="node", maintain_order="left")["i"].to_numpy()
    graph = coo_matrix((np.ones(len(u), np.int8), (u, v)), shape=(len(nodes), len(nodes))).tocsr()
    _, labels = connected_components(graph, directed=False)
    known = allowed["contact_id"].unique()
    return (
        pl.DataFrame({"node": nodes, "label": labels})
        .filter(pl.col("node").str.starts_with("contact:"))
        .with_columns(contact_id=pl.col("node").str.strip_prefix("contact:"))
        .filter(pl.col("contact_id").is_in(known.implode()))
        .with_columns(component=pl.col("contact_id").min().over("label"))
        .select("contact_id", "component")
        .sort("contact_id")
    )


@dataclass(frozen=True)
class KnownPerson:
    """What memory holds of a person."""

    person_id: str
    first_seen: datetime
    root_contact_id: str


@dataclass(frozen=True)
class Assignment:
    """Person of every contact, and what happened to persons.

    Attributes:
        persons: contact id -> person id.
        minted: new person id -> the contact that minted it.
        changes: (person that went on, other person, merge | split, contact that caused it).
    """

    persons: dict[str, str]
    minted: dict[str, str]
    changes: list[tuple[str, str, str, str]]


def assign(
    parts: pl.DataFrame,
    created: dict[str, datetime],
    before: dict[str, str],
    known: dict[str, KnownPerson],
    taken: set[str],
) -> Assignment:
    """Durable person ids for components.

    Args:
        parts: contact_id and component.
        created: contact id -> when the contact was created.
        before: contact id -> person id so far.
        known: the persons of `before`.
        taken: every person id these contacts ever minted, so that a split mints a new one.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for contact, component in parts.iter_rows():
        members[component].append(contact)
    ordered = {part: sorted(ids, key=lambda c: (created[c], len(c), c)) for part, ids in members.items()}
    homes: dict[str, list[str]] = defaultdict(list)  # person -> components that hold one of its contacts
    for part in sorted(ordered, key=lambda p: (created[ordered[p][0]], len(ordered[p][0]), ordered[p][0])):
        for person in {before[c] for c in ordered[part] if c in before}:
            homes[person].append(part)
    owner: dict[str, str] = {}
    given: dict[str, str] = {}
    for person in sorted(homes, key=lambda p: (known[p].first_seen, p)):
        for part in homes[person]:
            if part not in owner:
                owner[part], given[person] = person, part
                break
    minted: dict[str, str] = {}
    for part, contacts in ordered.items():
        if part not in owner:
            owner[part] = _mint(contacts[0], taken, minted)
    persons = {contact: owner[part] for part, contacts in ordered.items() for contact in contacts}
    return Assignment(persons, minted, _changes(homes, owner, given, ordered))


def _mint(contact: str, taken: set[str], minted: dict[str, str]) -> str:
    generation = 0
    while (candidate := identifiers.person_id(contact, generation)) in taken or candidate in minted:
        generation += 1
    minted[candidate] = contact
    return candidate


def _changes(
    homes: dict[str, list[str]], owner: dict[str, str], given: dict[str, str], ordered: dict[str, list[str]]
) -> list[tuple[str, str, str, str]]:
    found = []
    for person, parts in sorted(homes.items()):
        if person not in given:
            found.append((owner[parts[0]], person, "merge", f"contact:{ordered[parts[0]][0]}"))
        else:
            found += [
                (person, owner[part], "split", f"contact:{ordered[part][0]}") for part in parts if owner[part] != person
            ]
    return found
