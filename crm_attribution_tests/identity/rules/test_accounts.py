"""Whose company, and when: histories of `associatedcompanyid`, merges of companies, deals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.identity.rules.accounts import (
    CHILD_TO_PARENT,
    PARENT_TO_CHILD,
    accounts,
    deal_accounts,
    parents,
    tops,
)
from crm_attribution.identity.rules.memberships import account_at, memberships
from crm_attribution.mapping import load
from crm_attribution_tests.events.rules.histories import Change, frame, history
from crm_attribution_tests.helpers import at

Span = tuple[str, str, str | None]
ALWAYS = "1970-01-01"
STAMP = at("01-01T00:00:00")


def record(table: str, number: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "properties": "{}", "created_at": STAMP, "modified_at": STAMP, "archived": False,
            "extracted_at": STAMP, **more}  # fmt: skip


def link(kind: str, one: str, company: str, position: int = 0, primary: bool = False, **more: Any) -> dict[str, Any]:
    return {"from_type": kind, "from_id": one, "to_type": "companies", "to_id": company, "type_ids": [], "labels": [],
            "is_primary": primary, "position": position, "valid_from": STAMP, **more}  # fmt: skip


def spans(
    told: Mapping[str, Sequence[tuple[str | None, ...]]],
    *links: dict[str, Any],
    contacts: tuple[dict[str, Any], ...] = (),
    persons: Mapping[int, str] | None = None,
    merged: Mapping[int, int] | None = None,
) -> list[Span]:
    """(company, from, to) of the one person all contacts are, unless told otherwise."""
    numbers = [int(n) for n in (*told, *(row["id"] for row in contacts))]
    rows = memberships(
        frame("raw.contact", [*(record("raw.contact", n) for n in told), *contacts]),
        history("contacts", {n: [_change(*change) for change in changes] for n, changes in told.items()}),
        frame("raw.association", links),
        dict.fromkeys(numbers, "p") | dict(persons or {}),
        dict(merged or {}),
    )
    contract = CONTRACTS["identity.membership"]
    checked = contract.validate(contract.conform(rows)).sort("valid_from", "account_id")
    return [
        (row["account_id"].removeprefix("company:"), _day(row["valid_from"]) or "", _day(row["valid_to"]))
        for row in checked.iter_rows(named=True)
    ]


def _change(when: str | None, value: str | None, name: str | None = "associatedcompanyid") -> Change:
    assert name is not None
    return (f"{when}T09:00:00", name, value)


def _day(moment: Any) -> str | None:
    return None if moment is None else ALWAYS if moment.year == 1970 else moment.strftime("%m-%d")


def test_the_earliest_company_reaches_back_to_the_beginning():
    assert spans({"7": [("03-05", "1")]}) == [("1", ALWAYS, None)]


def test_a_changed_address_is_no_change_of_the_company():
    told = {"7": [("03-05", "1"), ("04-05", "new@firm.example", "email"), ("05-05", "2")]}
    assert spans(told) == [("1", ALWAYS, "05-05"), ("2", "05-05", None)]
    assert spans({"7": [("04-05", "new@firm.example", "email")]}, link("contacts", "7", "3")) == [("3", ALWAYS, None)]


def test_a_job_changer():
    told = {"7": [("03-05", "1"), ("04-05", "2"), ("05-05", "1")]}
    assert spans(told) == [("1", ALWAYS, "04-05"), ("2", "04-05", "05-05"), ("1", "05-05", None)]


def test_between_two_companies_there_is_none():
    told = {"7": [("03-05", "1"), ("04-05", ""), ("05-05", "2")]}
    assert spans(told) == [("1", ALWAYS, "04-05"), ("2", "05-05", None)]
    assert spans({"7": [("03-05", ""), ("05-05", "2")]}) == [("2", "05-05", None)]


def test_two_values_of_one_moment_leave_the_later():
    assert spans({"7": [("03-05", "1"), ("04-05", "2"), ("04-05", "3")]}) == [
        ("1", ALWAYS, "04-05"),
        ("3", "04-05", None),
    ]


def test_a_merged_company_is_its_survivor_without_a_seam():
    told = {"7": [("03-05", "1"), ("04-05", "2"), ("05-05", "3")]}
    assert spans(told, merged={1: 9, 2: 9}) == [("9", ALWAYS, "05-05"), ("3", "05-05", None)]


def test_without_history_the_current_company_holds_from_the_beginning():
    alone = record("raw.contact", "7", associatedcompanyid="1")
    assert spans({}, contacts=(alone,)) == [("1", ALWAYS, None)]
    bare = record("raw.contact", "7")
    ended = link("contacts", "7", "4", valid_to=STAMP)
    links = (link("contacts", "7", "2", 1), link("contacts", "7", "3", 0), ended)
    assert spans({}, *links, contacts=(bare,)) == [("3", ALWAYS, None)], "the first of HubSpot's answer"
    assert spans({}, *links, link("contacts", "7", "5", 2, True), contacts=(bare,)) == [("5", ALWAYS, None)]
    assert spans({}, *links, contacts=(alone,)) == [("1", ALWAYS, None)], "its own property before the associations"
    assert spans({}, contacts=(bare,)) == []


def test_two_contacts_of_one_person_belong_wherever_either_does():
    told = {"7": [("03-05", "1"), ("04-05", "")], "8": [("03-06", "1")]}
    both = {("1", ALWAYS, "04-05"), ("1", ALWAYS, None)}
    assert set(spans(told)) == both == set(spans(told, persons={8: "q"}))


def test_what_a_merge_copied_is_not_the_contacts_own():
    """7 was of company 1 and was absorbed by 8, which is of company 2 and shows both histories."""
    early, late = at("06-01T00:00:00"), at("06-02T00:00:00")
    rows = [
        ("7", "03-05", "1", early),
        ("8", "03-06", "2", early),
        ("8", "03-05", "1", late),
    ]
    history = frame("raw.property_history", [
        {"object_type": "contacts", "object_id": contact, "property": "associatedcompanyid", "value": company,
         "timestamp": at(f"{day}T09:00:00"), "ordinal": 0, "history_truncated": False, "extracted_at": read}
        for contact, day, company, read in rows
    ])  # fmt: skip
    merges = frame("raw.merge", [
        {"object_type": "contacts", "absorbed_id": "7", "survivor_id": "8", "merged_at": at("05-05T00:00:00"),
         "source": "webhook"}
    ])  # fmt: skip
    found = memberships(
        frame("raw.contact", [record("raw.contact", "7"), record("raw.contact", "8")]),
        history, frame("raw.association", []), {7: "p", 8: "p"}, {}, merges=merges,
    )  # fmt: skip
    told = [(row["contact_id"], row["account_id"], _day(row["valid_from"]), _day(row["valid_to"]))
            for row in found.sort("contact_id").iter_rows(named=True)]  # fmt: skip
    assert told == [(7, "company:1", ALWAYS, "05-05"), (8, "company:2", ALWAYS, None)]


@pytest.mark.parametrize(
    ("moment", "account"),
    [
        (at("04-05T09:00:00") - timedelta(microseconds=1), "company:1"),
        (at("04-05T09:00:00"), "company:2"),
        (at("05-05T09:00:00") - timedelta(microseconds=1), "company:2"),
        (at("05-05T09:00:00"), None),
    ],
)
def test_a_moment_belongs_to_the_span_that_begins_with_it(moment: Any, account: str | None):
    rows = [
        {"person_id": "p", "account_id": "company:1", "contact_id": "7", "valid_from": at("1970-01-01"),
         "valid_to": at("04-05T09:00:00"), "basis": "history"},
        {"person_id": "p", "account_id": "company:2", "contact_id": "7", "valid_from": at("04-05T09:00:00"),
         "valid_to": at("05-05T09:00:00"), "basis": "history"},
    ]  # fmt: skip
    given = pl.DataFrame(
        {"person_id": ["p", "stranger", None], "contact_id": [7, 9, None], "when": [moment] * 3, "n": [1, 2, 3]}
    )
    found = account_at(given, "when", frame("identity.membership", rows))
    assert found["account_id"].to_list() == [account, None, None]
    assert found["n"].to_list() == [1, 2, 3], "no row is lost or doubled"


@pytest.mark.parametrize(
    ("contact", "when", "account"),
    [
        (1, "03-01T00:00:00", "company:1"),
        (2, "03-01T00:00:00", "company:2"),
        (9, "03-01T00:00:00", None),
        (9, "01-15T00:00:00", "company:1"),
    ],
    ids=["its own", "its own, too", "neither, of two accounts", "a private address of who had one account"],
)
def test_an_act_belongs_to_the_account_of_the_contact_that_acted(contact: int, when: str, account: str | None):
    spans_ = [
        {"person_id": "p", "account_id": f"company:{n}", "contact_id": n, "valid_from": at(start), "basis": "history"}
        for n, start in (("1", "1970-01-01"), ("2", "02-01T00:00:00"))
    ]
    given = pl.DataFrame({"person_id": ["p"], "contact_id": [contact], "when": [at(when)]})
    assert account_at(given, "when", frame("identity.membership", spans_))["account_id"].item() == account


def test_deals_belong_to_their_primary_company_else_the_first_else_to_themselves():
    deals = frame("raw.deal", [record("raw.deal", n) for n in "1234"])
    links = [
        link("deals", "1", "10", 0), link("deals", "1", "20", 1, True),
        link("deals", "2", "10", 1), link("deals", "2", "30", 0),
        link("deals", "3", "10", valid_to=STAMP),
        link("deals", "4", "5", primary=True),
    ]  # fmt: skip
    rows = deal_accounts(deals, frame("raw.association", links), {5: 50}).sort("deal_id").rows()
    assert rows == [
        (1, "company:20", "primary"),
        (2, "company:30", "first_association"),
        (3, "deal:3", "own"),
        (4, "company:50", "primary"),
    ]


def test_accounts_are_live_companies_with_a_plain_domain():
    rows = accounts(
        frame("raw.company", [
            record("raw.company", "1", name="Ufer", domain="http://www.Ufer.example/") | {"properties": '{"t":"TRUE"}'},
            record("raw.company", "2", name="gone"),
            record("raw.company", "3", domain="none") | {"properties": '{"t": "no"}'},
        ]),
        {2},
        "t",
        load().accounts,
    ).sort("account_id")  # fmt: skip
    told = rows.select("account_id", "name", "domain", "target_account").rows()
    assert told == [("company:1", "Ufer", "ufer.example", True), ("company:3", None, None, False)]


@pytest.mark.parametrize(("named", "owner"), [("hubspot_owner_id", "9"), ("own_owner", "7")])
def test_the_owner_is_of_the_property_the_mapping_names(named: str, owner: str):
    company = record("raw.company", "1", hubspot_owner_id="9") | {"properties": '{"own_owner": "7"}'}
    rules = load().accounts.model_copy(update={"owner_property": named})
    assert accounts(frame("raw.company", [company]), set(), "t", rules)["owner_id"].to_list() == [owner]


def test_of_several_parents_the_association_from_the_child_counts_and_of_those_the_one_with_the_greatest_id():
    def related(child: int, parent: int, kinds: list[str]) -> dict[str, Any]:
        return link("companies", str(child), str(parent), type_ids=kinds)

    rules = load().accounts
    companies = frame("raw.company", [
        record("raw.company", str(number)) | {"properties": json.dumps({rules.parent_property: "90"})}
        for number in (1, 2, 3, 4)
    ])  # fmt: skip
    links = frame("raw.association", [
        related(1, 20, [CHILD_TO_PARENT]), related(1, 10, [CHILD_TO_PARENT]), related(30, 1, [PARENT_TO_CHILD]),
        related(40, 2, [PARENT_TO_CHILD]), related(5, 2, [PARENT_TO_CHILD]),
        related(2, 99, ["other"]), related(3, 3, [CHILD_TO_PARENT]),
    ])  # fmt: skip
    assert parents(companies, links, {}, rules) == {1: 20, 2: 40, 3: 90, 4: 90}
    assert tops({1: 2, 2: 3, 5: 6, 6: 5}) == {1: 3, 2: 3, 6: 5}, "a circle ends at its smallest id"
