"""Accounts of companies, domains and parents as the CRM changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.identity.accounts import live_accounts
from crm_attribution.layers import IDENTITY, run
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.checks import suspicious_domains
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED, RULES, Chain, differences
from crm_attribution_tests.flow.chain import rules as chain_rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.marts import sample_rows
from crm_attribution_tests.sandbox.lines import create, day, join
from crm_attribution_tests.sandbox.lines import update as change

pytestmark = pytest.mark.sandbox

NOW = at("2026-06-01")


def contact(session: Session, number: str, email: str, **more: Any) -> None:
    sample_rows.fill(session, {"raw.contact": [sample_rows.record(number, email=email, **more)]})
    session.journal.add("contacts", [number])


def company(session: Session, number: str, domain: str | None = None, **more: Any) -> None:
    sample_rows.fill(session, {"raw.company": [sample_rows.record(number, domain=domain, **more)]})
    session.journal.add("companies", [number])


def update(session: Session, rules: Rules = LOADED) -> int:
    return run(IDENTITY, session, rules, NOW).changed


def accounts(session: Session) -> dict[int, str]:
    """contact -> account"""
    return dict(session.read("identity.membership").select("contact_id", "account_id").iter_rows())


def test_a_domain_is_an_account_until_a_company_has_it(session: Session):
    contact(session, "1", "ann@mail.firm.co.uk")
    contact(session, "2", "Bob@Firm.co.uk")
    contact(session, "3", "cleo@gmail.com")
    update(session)
    assert accounts(session) == {1: "domain:firm.co.uk", 2: "domain:firm.co.uk"}
    company(session, "9", "www.firm.co.uk")
    update(session)
    assert accounts(session) == {1: "company:9", 2: "company:9"}
    assert live_accounts(session, ["domain:firm.co.uk"]) == {"domain:firm.co.uk": "company:9"}
    assert session.read("identity.account")["account_id"].to_list() == ["company:9"], "one account, not two"
    assert update(session) == 0


def test_two_companies_with_one_domain_are_told_and_not_joined(session: Session):
    contact(session, "1", "ann@firm.example")
    company(session, "8", "firm.example")
    update(session)
    assert accounts(session) == {1: "company:8"}
    company(session, "9", "shop.firm.example")
    update(session)
    assert accounts(session) == {1: "domain:firm.example"}, "neither of the two can claim it"
    shared = session.read("identity.account", "shares_domain")["account_id"].sort().to_list()
    assert shared == ["company:8", "company:9"]
    sample_rows.fill(session, {"raw.merge": [{"object_type": "companies", "absorbed_id": "9", "survivor_id": "8",
                                        "source": "lookup"}]})  # fmt: skip
    session.journal.add("companies", ["8", "9"])
    update(session)
    assert accounts(session) == {1: "company:8"}
    assert live_accounts(session, ["company:9"]) == {"company:9": "company:8"}


def test_a_domain_with_many_people_of_no_company_is_suspicious_unless_most_name_one(session: Session):
    def people(domain: str, first: int, companies: list[str | None]) -> None:
        for number, name in enumerate(companies, first):
            told = {} if name is None else {"company": name}
            contact(session, str(number), f"p{number}@{domain}", properties=json.dumps(told))

    people("mail.example", 1, ["Acme", "Birk", None])
    people("silent.example", 10, [None, None, None])
    people("studio.example", 20, ["The Studio", "the studio!", None])
    people("half.example", 30, ["Half", None, None])
    people("few.example", 40, ["A", "B"])
    people("firm.example", 50, ["A", "B", "C"])
    company(session, "9", "firm.example")
    update(session)
    found = suspicious_domains(session, 3, [])
    assert found.rows() == [("half.example", 3, 1, 1), ("mail.example", 3, 2, 2), ("silent.example", 3, 0, 0)]
    assert suspicious_domains(session, 3, ["mail.example", "half.example"])["domain"].to_list() == ["silent.example"]
    assert suspicious_domains(session, 4, []).is_empty()
    ours = LOADED.accounts.model_copy(update={"more_free_mail_domains": ["mail.example"]})
    update(session, LOADED.model_copy(update={"accounts": ours}))
    assert suspicious_domains(session, 3, [])["domain"].to_list() == ["half.example", "silent.example"]
    assert 1 not in accounts(session)


def test_a_subsidiary_rolls_up_only_where_asked(session: Session):
    contact(session, "1", "x@gmail.com", associatedcompanyid="3")
    for number in "123":
        company(session, number)
    link = {"from_type": "companies", "to_type": "companies", "labels": [], "is_primary": False, "position": 0,
            "valid_from": at("2026-01-01")}  # fmt: skip
    sample_rows.fill(session, {"raw.association": [
        {**link, "from_id": "3", "to_id": "2", "type_ids": ["14"]},
        {**link, "from_id": "1", "to_id": "2", "type_ids": ["13"]},
    ]})  # fmt: skip
    update(session)
    assert accounts(session) == {1: "company:3"}
    parents = session.read("identity.account").select("account_id", "parent_account_id").sort("account_id").rows()
    assert parents == [("company:1", None), ("company:2", "company:1"), ("company:3", "company:2")]
    rolled = LOADED.model_copy(update={"accounts": LOADED.accounts.model_copy(update={"rollup": "parent"})})
    update(session, rolled)
    assert accounts(session) == {1: "company:1"}
    assert live_accounts(session, ["company:3"]) == {"company:3": "company:1"}


def test_everything_of_a_subsidiary_is_its_parent_s_while_it_has_one(tmp_path: Path):
    """HubSpot tells the parent as an association: events of companies, deals and persons all follow it."""
    rules = RULES.replace("free_mail_domains: [buyer.example]", "free_mail_domains: [gmail.com]\n  rollup: parent")
    parent = join(day(2), ("companies", 2), ("companies", 1), label="Parent Company")
    lines = [
        *(create(day(1), "companies", n, name=f"C{n}") for n in (1, 2)),
        join(day(2), ("companies", 1), ("companies", 2), label="Child Company"),
        create(day(2), "contacts", 5, email="ann@gmail.com", lifecyclestage="lead"),
        join(day(2), ("contacts", 5), ("companies", 2)),
        create(day(2), "deals", 7, dealname="D", dealstage="qualifiedtobuy"),
        join(day(2), ("deals", 7), ("companies", 2)),
        change(day(3), "companies", 2, lifecyclestage="customer"),
        {**parent, "at": day(6), "op": "dissociate"},
        change(day(6), "companies", 2, name="On its own"),
        change(day(6), "companies", 1, name="Without it"),
        {**parent, "at": day(8)},
        change(day(8), "companies", 2, name="Bought again"),
    ]
    with Chain.start(tmp_path, lines, day(5), chain_rules(tmp_path, rules)) as chain:
        chain.run()
        for when, account in ((day(5), "company:1"), (day(7), "company:2"), (day(9), "company:1")):
            if when != day(5):
                chain.advance(when, since=at(day(5)))
            assert of_whom(chain) == {account}, when
            before = chain.dump()
            chain.rebuild()
            assert differences(before, chain.dump()) == []
        chain.mapping = chain_rules(tmp_path)
        chain.derive()
        assert of_whom(chain) == {"company:2"}, "as the rules say"


def of_whom(chain: Chain) -> set[str]:
    """The accounts of all milestones, deals and memberships, and of all events."""
    tables = ("events.milestone", "identity.deal_account", "identity.membership")
    events = {f"company:{row['company_id']}" for row in chain.table("events.event")}
    assert {row["milestone"] for row in chain.table("events.milestone")} >= {"lead_captured", "customer_won"}
    return events | {row["account_id"] for name in tables for row in chain.table(name)}


def test_a_deal_moved_to_another_company_takes_all_its_milestones_along(tmp_path: Path):
    """HubSpot does not tell a correction from a handover, so a deal is one account's: the present one's."""
    lines = [
        *(create(day(1), "companies", n, name=f"C{n}") for n in (1, 2)),
        create(day(3), "deals", 3, dealname="D3", dealstage="closedwon"),
        join(day(3), ("deals", 3), ("companies", 1), primary=True),
        create(day(4), "deals", 4, dealname="D4", dealstage="closedwon"),
        join(day(4), ("deals", 4), ("companies", 1), primary=True),
        join(day(6), ("deals", 3), ("companies", 2), primary=True),
    ]
    with Chain.start(tmp_path, lines, day(5)) as chain:
        chain.run()
        assert wins(chain) == {(3, "customer_won", "company:1"), (4, "customer_expanded", "company:1")}
        chain.advance(day(7), since=at(day(5)))
        assert wins(chain) == {(3, "customer_won", "company:2"), (4, "customer_won", "company:1")}
        before = chain.dump()
        chain.rebuild()
        assert differences(before, chain.dump()) == []


def wins(chain: Chain) -> set[tuple[int, str, str]]:
    rows = [row for row in chain.table("events.milestone") if row["milestone"].startswith("customer")]
    return {(row["deal_id"], row["milestone"], row["account_id"]) for row in rows}
