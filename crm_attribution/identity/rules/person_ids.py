"""Durable person ids: the oldest survives a merge, the part with the oldest contact keeps the id in a split.

Ids are kept in memory tables. Most components are one person before and after; only components that merged or split
are handled one by one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from crm_attribution import identifiers


@dataclass(frozen=True)
class KnownPerson:
    """A person as identity.person has it."""

    person_id: str
    first_seen: datetime


@dataclass(frozen=True)
class Assignment:
    """Person of every contact, and what happened to persons.

    Attributes:
        persons: contact id -> person id.
        minted: new person id -> the contact that minted it.
        changes: (person that remained, other person, merge | split, contact that caused it).
    """

    persons: dict[int, str]
    minted: dict[str, int]
    changes: list[tuple[str, str, str, str]] = field(default_factory=list)


def assign(contacts: pl.DataFrame, before: pl.DataFrame, known: dict[str, KnownPerson], taken: set[str]) -> Assignment:
    """Durable person ids for components.

    Args:
        contacts: contact_id, created_at, component.
        before: contact_id, person_id so far.
        known: the persons of `before`.
        taken: every person id these contacts ever minted, so that a split mints a new one.
    """
    rows = contacts.join(before, on="contact_id", how="left").with_columns(
        _persons=pl.col("person_id").drop_nulls().n_unique().over("component"),
        _homes=pl.when(pl.col("person_id").is_not_null())
        .then(pl.col("component").n_unique().over("person_id"))
        .otherwise(0),
    )
    rows = rows.with_columns(
        _plain=((pl.col("_persons") <= 1) & (pl.col("_homes") <= 1)).all().over("component"),
        person_id=pl.col("person_id").drop_nulls().first().over("component"),
    )
    plain = rows.filter("_plain")
    stays = plain.filter(pl.col("_persons") == 1)
    persons = dict(stays.select("contact_id", "person_id").iter_rows())
    minted: dict[str, int] = {}
    for members in (
        plain.filter(pl.col("_persons") == 0)
        .sort("component", "created_at", "contact_id")
        .group_by("component", maintain_order=True)
        .agg("contact_id")["contact_id"]
    ):
        person = _mint(members[0], taken, minted)
        persons.update(dict.fromkeys(members, person))
    rest = rows.filter(~pl.col("_plain")).select("contact_id", "created_at", "component")
    met = _settle(rest, dict(before.select("contact_id", "person_id").iter_rows()), known, taken, minted)
    return Assignment({**persons, **met.persons}, minted, met.changes)


def _settle(
    contacts: pl.DataFrame, before: dict[int, str], known: dict[str, KnownPerson], taken: set[str],
    minted: dict[str, int],
) -> Assignment:  # fmt: skip
    """Components that merged or split, one by one."""
    members: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    for contact, created, component in contacts.iter_rows():
        members[component].append((created, contact))
    ages = sorted((sorted(ids) for ids in members.values()), key=lambda ids: ids[0])
    ordered = {place: [contact for _, contact in ids] for place, ids in enumerate(ages)}
    homes: dict[str, list[int]] = defaultdict(list)  # person -> components that hold one of its contacts, oldest first
    for place, ids in ordered.items():
        for person in {before[contact] for contact in ids if contact in before}:
            homes[person].append(place)
    owner: dict[int, str] = {}
    given: set[str] = set()
    for person in sorted(homes, key=lambda p: (known[p].first_seen, p)):
        for place in homes[person]:
            if place not in owner:
                owner[place] = person
                given.add(person)
                break
    for place, ids in ordered.items():
        if place not in owner:
            owner[place] = _mint(ids[0], taken, minted)
    persons = {contact: owner[place] for place, ids in ordered.items() for contact in ids}
    return Assignment(persons, minted, _changes(homes, owner, given, ordered))


def _mint(contact: int, taken: set[str], minted: dict[str, int]) -> str:
    generation = 0
    while (candidate := identifiers.person_id(contact, generation)) in taken or candidate in minted:
        generation += 1
    minted[candidate] = contact
    return candidate


def _changes(
    homes: dict[str, list[int]], owner: dict[int, str], given: set[str], ordered: dict[int, list[int]]
) -> list[tuple[str, str, str, str]]:
    found = []
    for person, places in sorted(homes.items()):
        if person not in given:
            found.append((owner[places[0]], person, "merge", f"contact:{ordered[places[0]][0]}"))
        else:
            found += [
                (person, owner[place], "split", f"contact:{ordered[place][0]}")
                for place in places
                if owner[place] != person
            ]
    return found
