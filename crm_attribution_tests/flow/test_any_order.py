"""Random histories of a CRM with its submissions and clicks: in whatever order raw learns of them, and however often
the steps run in between, persons, accounts, clicks and touches end the same, and so does a rebuild."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crm_attribution.contracts import CONTRACTS
from crm_attribution.layers import CLICKS, IDENTITY, LAYERS, TOUCHES, run
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.identity.contacts import START, Contacts
from crm_attribution_tests.identity.test_identity import ADDRESSES, someday
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.marts import sample_rows

pytestmark = pytest.mark.slow

NOW = at("2026-06-01")
POOL = [*ADDRESSES, "team@a.example", "info@b.example"]
TABLES = [
    *("identity.edge", "identity.edge_rejected", "identity.account", "identity.account_alias", "identity.membership"),
    *("identity.click", "identity.email_click", "attribution.touch"),
    "attribution.telling",
]

Act = Callable[[Session], None]
State = dict[str, list[tuple[Any, ...]]]


def derive(session: Session) -> None:
    run(IDENTITY, session, LOADED, NOW)
    run(CLICKS, session, LOADED, NOW)
    run(TOUCHES, session, LOADED, NOW)


def state(session: Session) -> State:
    """Everything derived, persons named by their contacts: which id one got is memory."""
    alias = session.read("identity.alias", "identifier_type = 'contact'").sort("identifier")
    names = dict(alias.group_by("person_id").agg(pl.col("identifier").str.join(" ")).iter_rows())
    found = {"persons": sorted((name,) for name in names.values())}
    for table in TABLES:
        columns = [
            column.name for column in CONTRACTS[table].columns if not column.name.endswith(("node_id", "identifier_id"))
        ]
        rows = session.read(table).select(columns).with_columns(pl.col(pl.List(pl.String)).list.join(" "))
        if "person_id" in columns:
            rows = rows.with_columns(pl.col("person_id").replace_strict(names, default=None, return_dtype=pl.String))
        found[table] = sorted(rows.rows(), key=repr)
    return found


def differences(one: State, other: State) -> list[str]:
    return [
        f"{side} {table}: {row}"
        for table in one
        for side, mine, theirs in (("first", one, other), ("second", other, one))
        for row in sorted(set(mine[table]) - set(theirs[table]), key=repr)
    ]


def rebuilt(session: Session) -> State:
    with session.transaction():
        session.truncate(TABLES)
        session.journal.forget([layer.name for layer in LAYERS])
    derive(session)
    return state(session)


def fact(chance: Random, number: int) -> Act:
    """One thing that happened outside the CRM's records, or a company."""
    when = START + timedelta(days=chance.randrange(60), seconds=chance.randrange(90))
    ids = {"gclid": chance.choice(["G1", "G2", None]), "extracted_at": when}
    email = chance.choice(POOL)
    kind = chance.choice(
        ["form", "form", "form", "click", "click", "mail", "mail", "company", "told", "told", "fair", "fair"]
    )
    if kind == "form":
        link = chance.choice([None, f"{number - 1}", f"{number + 1}"])
        row = {
            "form_id": "f",
            "conversion_id": f"{number}",
            "submitted_at": when,
            "email": email,
            "link_click_id": link,
        }
        return act("raw.form_submission", {**row, **ids})
    if kind == "click":
        row = sample_rows.click(str(number), when.isoformat(), contact_id=chance.choice([None, "1", "2", "5"]), **ids)
        return act("raw.link_click", row)
    if kind == "mail":
        row = {"id": str(number), "created_at": when, "recipient": email, "is_bot": False, "extracted_at": when}
        return act("raw.email_click", row)
    if kind == "fair":
        row = {"touch_id": str(number), "touched_at": when, "act": "fair", "told_at": when, "extracted_at": when,
               "email": email, "contact_id": chance.choice([None, 1, 5])}  # fmt: skip
        return act("raw.offline_touch", row)
    if kind == "told":
        prop, value = chance.choice([("hs_google_click_id", "G1"), ("hs_google_click_id", "G2"),
                                     ("hs_latest_source", "REFERRALS"), ("hs_google_click_id", "{gclid}")])  # fmt: skip
        row = {"object_type": "contacts", "object_id": int(chance.choice("125")), "property": prop, "timestamp": when,
               "value": value, "ordinal": 0, "history_truncated": False, "extracted_at": when}  # fmt: skip
        return act("raw.property_history", row)
    row = sample_rows.record(str(number), domain=f"{chance.choice('abcdg')}.example")
    return act("raw.company", row)


def act(table: str, row: sample_rows.Row) -> Act:
    def act(session: Session) -> None:
        sample_rows.fill(session, {table: [row]})

    return act


@settings(max_examples=2 * TIMES, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_histories_end_the_same_in_any_order(seed: int):
    chance = Random(seed)
    crm, facts = Contacts(), [fact(chance, number) for number in range(25)]
    with TemporaryDirectory() as folder, new_warehouse(Path(folder)).session() as session:
        step_by_step = as_it_happened(session, crm, facts, chance)
        assert differences(step_by_step, rebuilt(session)) == []
    arrivals: list[Act | str] = [*facts, *crm.created]
    chance.shuffle(arrivals)
    with TemporaryDirectory() as folder, new_warehouse(Path(folder)).session() as session:
        while arrivals:
            now, arrivals = arrivals[:25], arrivals[25:]
            crm.dirty = {arrival for arrival in now if isinstance(arrival, str)}
            for act in now:
                if not isinstance(act, str):
                    act(session)
            crm.tell(session)
            derive(session)
        assert differences(step_by_step, state(session)) == []


def as_it_happened(session: Session, crm: Contacts, facts: list[Act], chance: Random) -> State:
    """The state after a history that is act while it goes on, every record as it is at the end."""
    for round_ in range(3):
        for _ in range(6):
            someday(crm, chance)
        if chance.random() < 0.5:
            crm.archive_or_restore(chance.choice(crm.live()))
        for act in facts[8 * round_ : 8 * round_ + 8]:
            act(session)
        crm.tell(session)
        derive(session)
    for act in facts[24:]:
        act(session)
    crm.dirty = set(crm.created)
    crm.tell(session)
    derive(session)
    return state(session)
