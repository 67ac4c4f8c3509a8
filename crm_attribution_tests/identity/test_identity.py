"""Persons over time: any chain of increments ends where a rebuild does, and where an independent oracle does."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.identity.update import quality
from crm_attribution.layers import IDENTITY, run
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED, differences, dump
from crm_attribution_tests.helpers import at
from crm_attribution_tests.identity.contacts import Contacts

pytestmark = pytest.mark.warehouse

NOW = at("2026-06-01")
ADDRESSES = ["Ann@a.example", "ANN@a.example", "bob@b.example", "cleo@c.example", "info@a.example",
             "anonymous@d.example", "eve@e.example", "max@f.example", "pool@g.example"]  # fmt: skip
ROOMY = LOADED.model_copy(update={"identity": LOADED.identity.model_copy(update={"person_emails": 100})})
"""The oracle knows nothing of limits."""
STATE = ["identity.edge", "identity.edge_rejected", "identity.alias", "identity.person"]


def update(session: Session, rules: Rules = ROOMY) -> int:
    return run(IDENTITY, session, rules, NOW).changed


def empty(session: Session) -> None:
    with session.transaction():
        session.truncate([name for name in CONTRACTS if name.split(".")[0] in ("raw", "identity")])
        session.journal.forget([IDENTITY.name])


def persons(session: Session) -> set[frozenset[str]]:
    groups = defaultdict(set)
    for row in session.read("identity.alias", "identifier_type = 'contact'").iter_rows(named=True):
        groups[row["person_id"]].add(row["identifier"])
    return {frozenset(group) for group in groups.values()}


def person_of(session: Session, contact: str) -> str:
    return str(
        session.scalar(
            "SELECT person_id FROM identity.alias WHERE identifier_type = 'contact' AND identifier = ?", [contact]
        )
    )


def someday(crm: Contacts, chance: random.Random) -> None:
    """One thing people do in a CRM."""
    live = crm.live()
    act = chance.choice(["create", "create", "create", "rename", "add", "drop", "merge", "merge third"])
    if act == "create" or len(live) < 3:
        crm.create(chance.choice(ADDRESSES))
    elif act == "rename":
        crm.rename(chance.choice(live), chance.choice(ADDRESSES))
    elif act == "add":
        crm.add_email(chance.choice(live), chance.choice(ADDRESSES))
    elif act == "drop":
        crm.drop_emails(chance.choice(live))
    else:
        crm.merge(*chance.sample(live, 2), third=act == "merge third")


_SEEN_BEFORE = """
SELECT person_id FROM identity.person JOIN identity.alias USING (person_id)
JOIN identity.edge AS edge ON edge.node_id = alias.node_id
ANTI JOIN identity.edge_rejected AS refused
    ON refused.node_id = edge.node_id AND refused.identifier_id = edge.identifier_id
WHERE edge.first_seen < person.first_seen
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_increments_rebuild_and_oracle_agree(session: Session, seed: int):
    """Each seed is a history of a CRM; it is told in steps of random size."""
    chance = random.Random(seed)
    crm = Contacts()
    for _ in range(5):
        for _ in range(chance.randint(1, 6)):
            someday(crm, chance)
        crm.tell(session)
        update(session)
        assert persons(session) == crm.persons(LOADED.identity)
        assert session.query(_SEEN_BEFORE).is_empty(), "a person is known since the first of what it is known by"
        assert update(session) == 0
    before = {name: rows for name, rows in dump(session).items() if name in STATE}
    with session.transaction():
        session.truncate(["identity.edge", "identity.edge_rejected"])
        session.journal.forget([IDENTITY.name])
    update(session)
    assert differences(before, dump(session)) == []
    known = set(session.read("identity.person")["person_id"])
    changes = session.read("identity.person_change")
    assert set(changes["person_id"]) | set(changes["other_person_id"]) <= known, "an id once published stays known"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7])
def test_the_order_in_which_contacts_arrive_decides_nothing(session: Session, seed: int):
    chance = random.Random(seed)
    crm = Contacts()
    for _ in range(25):
        someday(crm, chance)
    found = []
    for _ in range(3):
        empty(session)
        waiting = list(crm.created)
        chance.shuffle(waiting)
        while waiting:
            crm.dirty, waiting = set(waiting[:7]), waiting[7:]
            crm.tell(session)
            update(session)
        refused = session.read("identity.edge_rejected").drop("node_id", "identifier_id")
        found.append((persons(session), refused.sort("contact_id", "identifier").rows()))
    assert found[0][0] == crm.persons(LOADED.identity)
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_the_oldest_person_survives_and_a_split_gives_a_new_id(session: Session):
    crm = Contacts()
    old, young = crm.create("ann@a.example"), crm.create("bob@b.example")
    crm.tell(session)
    update(session)
    first, second = person_of(session, old), person_of(session, young)
    seen = [(first, second)]
    for _ in range(2):
        crm.add_email(old, "bob@b.example")
        crm.tell(session)
        update(session)
        assert person_of(session, young) == person_of(session, old) == first, "the older person goes on"
        gone = session.read("identity.person", "person_id = ?", [seen[-1][1]]).row(0, named=True)
        assert (gone["merged_into"], gone["contacts"], gone["identifiers"]) == (first, 0, 0)
        crm.drop_emails(old)
        crm.tell(session)
        update(session)
        seen.append((person_of(session, old), person_of(session, young)))
    assert {pair[0] for pair in seen} == {first}
    assert len({pair[1] for pair in seen}) == 3, "an id that was merged away is never given out again"
    told = session.read("identity.person_change").select("person_id", "other_person_id", "kind").rows()
    assert sorted(told) == sorted(
        [(first, seen[0][1], "merge"), (first, seen[1][1], "split"),
         (first, seen[1][1], "merge"), (first, seen[2][1], "split")]
    )  # fmt: skip


def test_shared_addresses_and_role_mailboxes_join_nobody_and_say_so(session: Session):
    crm = Contacts()
    for _ in range(4):
        crm.create("pool@g.example")
    for _ in range(2):
        crm.create("Info@a.example")
    crm.tell(session)
    update(session)
    assert len(persons(session)) == 6
    refused = session.query("SELECT rule, count(*) AS n FROM identity.edge_rejected GROUP BY rule ORDER BY rule")
    assert refused.rows() == [("role_mailbox", 2), ("shared_identifier", 4)]
    crm.merge("1", "2", third=False)
    crm.tell(session)
    update(session)
    assert len(persons(session)) == 3, "on three contacts the address is nobody's pool any more"


def test_quality_counts_what_is_there(session: Session):
    crm = Contacts()
    crm.create("ann@a.example")
    crm.create("info@a.example")
    crm.tell(session)
    update(session)
    facts = quality(session)
    assert facts["persons"] == 2
    assert facts["aliases"] == 3
    assert facts["largest person (identifiers)"] == 2
    assert facts["rejected edges: role_mailbox"] == 1
