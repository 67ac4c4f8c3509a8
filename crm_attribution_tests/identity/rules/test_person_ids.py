"""Durable person ids against a plain reading of their rules, one component after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.identifiers import person_id
from crm_attribution.identity.rules.person_ids import KnownPerson, assign
from crm_attribution_tests.laws import TIMES

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
PERSONS = ["z", "m", "a"]
Found = tuple[dict[int, str], dict[int, str], list[tuple[str, str, str, str]]]


def run(
    born: dict[int, int], home: dict[int, int], before: dict[int, str], seen: dict[str, int], taken: set[str]
) -> Found:
    """Person of each contact, what each minting contact minted, changes. Ages are in minutes."""
    contacts = pl.DataFrame(
        [(number, BEGINNING + timedelta(minutes=age), home[number]) for number, age in born.items()],
        schema={"contact_id": pl.Int64, "created_at": pl.Datetime("us", "UTC"), "component": pl.Int64},
        orient="row",
    )
    had = pl.DataFrame(list(before.items()), schema={"contact_id": pl.Int64, "person_id": pl.String}, orient="row")
    known = {name: KnownPerson(name, BEGINNING + timedelta(minutes=age)) for name, age in seen.items()}
    found = assign(contacts, had, known, taken)
    return found.persons, {contact: name for name, contact in found.minted.items()}, sorted(found.changes)


def plainly(
    born: dict[int, int], home: dict[int, int], before: dict[int, str], seen: dict[str, int], taken: set[str]
) -> Found:
    """Each person, the one known longest first, goes on in the oldest of its components that is still free; a component
    that nobody takes gets the next id of its oldest contact."""
    groups = [sorted((c for c in born if home[c] == h), key=lambda c: (born[c], c)) for h in set(home.values())]
    groups.sort(key=lambda group: (born[group[0]], group[0]))
    owner: dict[int, str] = {}
    told = []
    for name in sorted(seen, key=lambda name: (seen[name], name)):
        mine = [group[0] for group in groups if any(before.get(contact) == name for contact in group)]
        free = [oldest for oldest in mine if oldest not in owner]
        if free:
            owner[free[0]] = name
        told.append((name, mine, free[:1]))
    minted = {
        group[0]: next(text for n in count() if (text := person_id(group[0], n)) not in taken)
        for group in groups
        if group[0] not in owner
    }
    owner |= minted
    changes = []
    for name, mine, kept in told:
        if mine and not kept:
            changes.append((owner[mine[0]], name, "merge", f"contact:{mine[0]}"))
        elif kept:
            changes += [(name, owner[part], "split", f"contact:{part}") for part in mine if part not in kept]
    return {c: owner[group[0]] for group in groups for c in group}, minted, sorted(changes)


numbers = st.sampled_from(range(1, 8))


@settings(max_examples=120 * TIMES)
@given(
    born=st.dictionaries(numbers, st.sampled_from(range(4)), min_size=1),
    homes=st.lists(st.sampled_from(range(4)), min_size=8, max_size=8),
    before=st.dictionaries(st.sampled_from(range(1, 10)), st.sampled_from(PERSONS)),
    seen=st.tuples(*[st.sampled_from(range(3))] * 3),
    taken=st.sets(st.tuples(numbers, st.sampled_from(range(3)))),
)
def test_any_components_against_a_plain_reading(born: Any, homes: Any, before: Any, seen: Any, taken: Any):
    world = (
        born,
        {contact: homes[contact] for contact in born},
        before,
        dict(zip(PERSONS, seen, strict=True)),
        {person_id(contact, generation) for contact, generation in taken},
    )
    assert run(*world) == plainly(*world)


def test_the_person_known_longest_goes_on_in_its_oldest_part_and_the_others_say_why():
    """1 and 2 part, 3 joins 1; 4 is new; the contact 9 is not there any more."""
    born, home = {1: 5, 2: 3, 3: 9, 4: 0}, {1: 0, 3: 0, 2: 1, 4: 2}
    found = run(born, home, {1: "a", 2: "a", 3: "m", 9: "z"}, {"a": 2, "m": 1, "z": 0}, {person_id(4)})
    assert found == (
        {2: "a", 1: "m", 3: "m", 4: person_id(4, 1)},
        {4: person_id(4, 1)},
        [("a", "m", "split", "contact:1")],
    )
    assert run(born, dict.fromkeys(born, 0), {1: "a", 3: "m"}, {"a": 2, "m": 1}, set())[2] == [
        ("m", "a", "merge", "contact:4")
    ]
