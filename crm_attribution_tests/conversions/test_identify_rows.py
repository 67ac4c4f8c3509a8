"""Which records inputs are about, what they were told as before, and what HubSpot took of them: rows in, values out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.conversions import identify, identifying
from crm_attribution.conversions.identify_rules import Known, digest
from crm_attribution.conversions.inputs import Inputs
from crm_attribution.conversions.subjects import Telling, companies_of, people_of
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at

pytestmark = pytest.mark.warehouse

NOW, HOUR = at("2026-03-10T12:00:00Z"), timedelta(hours=1)
ROW: dict[str, Any] = {
    **{"message_id": "m", "kind": "identify", "happened_at": NOW, "email": None, "record_id": None, "domain": None},
    **{"business_domain": None, "properties": None},
}
TEXTS = pl.String()
SCHEMA = {
    **{"message_id": TEXTS, "kind": TEXTS, "happened_at": pl.Datetime("us", "UTC"), "email": TEXTS},
    **{"record_id": pl.Int64(), "domain": TEXTS, "business_domain": TEXTS, "properties": TEXTS},
}
TYPES = {"jobtitle": "string", "seats": "number", "email": "string", "domain": "string"}


def stored(session: Session, table: str, *rows: dict[str, Any]) -> None:
    schema = {name: kind for name, kind in CONTRACTS[table].polars_schema.items() if name in rows[0]}
    session[table].upsert(pl.DataFrame(list(rows), schema=schema))


def merged(session: Session, kind: str, absorbed: int, survivor: int) -> None:
    row = {"object_type": kind, "absorbed_id": absorbed, "survivor_id": survivor, "merged_at": NOW}
    stored(session, "raw.merge", {**row, "source": "hs_merged_object_ids"})


def record(number: int, **more: Any) -> dict[str, Any]:
    moment = {"created_at": NOW, "modified_at": NOW, "extracted_at": NOW}
    return {"id": number, "properties": "{}", "archived": False, **moment, **more}


def inputs(
    people: Sequence[dict[str, Any]] = (),
    companies: Sequence[dict[str, Any]] = (),
    contacts: Sequence[tuple[int, str | None]] = (),
    owners: Sequence[tuple[str, int]] = (),
) -> Inputs:
    def rows(given: Sequence[dict[str, Any]]) -> pl.DataFrame:
        return pl.DataFrame([{**ROW, **one} for one in given], schema=SCHEMA)

    known = pl.DataFrame(list(contacts), schema={"id": pl.Int64, "email": pl.String}, orient="row")
    owning = pl.DataFrame(list(owners), schema={"business_domain": pl.String, "company_id": pl.Int64}, orient="row")
    return Inputs(rows(people), rows(companies), known, owning, [])


def telling() -> Telling:
    return Telling({kind: Known({}, TYPES, frozenset(), ()) for kind in ("contacts", "companies")})


def test_a_contact_was_told_as_its_addresses_and_as_those_it_absorbed(session: Session):
    merged(session, "contacts", 4, 7)
    merged(session, "companies", 5, 7)
    given = inputs(
        [
            {"message_id": "m1", "record_id": 7, "email": "a@x", "properties": '{"jobtitle": "CEO", "seats": "many"}'},
            {"message_id": "m2", "record_id": 7, "kind": "group", "properties": '{"jobtitle": "of the company"}'},
            {"message_id": "m3", "email": "new@x", "properties": '{"jobtitle": "CTO"}'},
            {"message_id": "m4", "email": "new@x"},
        ],
        contacts=[(7, "b@x"), (7, None), (9, "c@x")],
    )
    told = telling()
    found = people_of(session, given, told)
    new = f"contacts:{digest('contacts', 'new@x')}"
    assert {key: (one.record, one.before, one.action) for key, one in found.items()} == {
        "contacts:7": (7, {f"contacts:{digest('contacts', name)}" for name in ("a@x", "b@x")} | {"contacts:4"},
                       "contacts"),
        new: (None, set(), "new_contacts"),
    }  # fmt: skip
    assert {key: [(one.row, one.values) for one in each.said] for key, each in found.items()} == {
        "contacts:7": [("m1", {"jobtitle": "CEO"})], new: [("m3", {"jobtitle": "CTO"}), ("m4", {})]}  # fmt: skip
    assert (found["contacts:7"].made_of, found[new].made_of) == ({}, {"email": ("new@x", "")})
    assert told.seen == {"m1", "m2", "m3", "m4"}
    assert told.wrong == {("m1", "contacts", "seats"): "not_a_number"}


def test_a_company_is_the_one_that_has_the_domain_and_a_domain_of_several_is_none(session: Session):
    merged(session, "companies", 30, 31)
    merged(session, "contacts", 32, 31)
    given = inputs(
        companies=[
            {"message_id": "m1", "kind": "group", "business_domain": "one.com", "properties": '{"jobtitle": "x"}'},
            {"message_id": "m2", "kind": "identify", "business_domain": "one.com", "properties": '{"jobtitle": "y"}'},
            {"message_id": "m3", "kind": "group", "business_domain": "two.com"},
            {"message_id": "m4", "kind": "group", "business_domain": "none.com"},
        ],
        owners=[("one.com", 31), ("two.com", 31), ("two.com", 33)],
    )
    told = telling()
    found = companies_of(session, given, told)
    new = f"companies:{digest('companies', 'none.com')}"
    assert {key: (one.record, one.before, one.action) for key, one in found.items()} == {
        "companies:31": (31, {f"companies:{digest('companies', 'one.com')}", "companies:30"}, "companies"),
        new: (None, set(), "new_companies"),
    }
    assert [(one.row, one.values) for one in found["companies:31"].said] == [("m1", {"jobtitle": "x"})]
    assert set(found[new].made_of) == {"domain", "crm_attribution_domain"}
    assert (set(told.wrong), told.seen >= {"m1", "m2", "m3", "m4"}) == ({("m3", "companies", "domain")}, True)


def test_what_hubspot_took_is_what_was_wanted_once_its_row_is_accepted():
    row = {
        "told": '{"a": "1", "b": "1"}', "wanted": '{"a": "2", "lifecyclestage": "lead"}', "wanted_key": "k",
        "stages_told": ["subscriber"],
    }  # fmt: skip
    plain = {"told": "{}", "wanted": '{"a": "2"}', "wanted_key": "other", "stages_told": None}
    assert identify._told(row, {"k"}) == {"a": "2", "b": "1", "lifecyclestage": "lead"}
    assert identify._told(row, {"other"}) == {"a": "1", "b": "1"}
    assert identify._stages_told([row, plain], {"k", "other"}) == ["lead", "subscriber"]
    assert identify._stages_told([row, plain], {"other"}) == ["subscriber"]


def test_a_contact_joins_the_company_named_last_with_it(session: Session):
    """Unless it is associated, archived, or the domain is of several."""
    stored(session, "raw.contact", *(record(number, archived=number == 9) for number in range(1, 10)))
    link = {"from_type": "contacts", "to_type": "companies", "type_ids": [], "labels": [], "is_primary": True,
            "position": 0, "valid_from": NOW}  # fmt: skip
    stored(
        session,
        "raw.association",
        {**link, "from_id": 2, "to_id": 31, "valid_to": None},
        {**link, "from_id": 3, "to_id": 31, "valid_to": NOW},
        {**link, "from_id": 4, "to_id": 32, "valid_to": None},
        {**link, "from_id": 5, "to_id": 31, "valid_to": None, "from_type": "deals"},
    )
    named = [
        *((number, "m1", "one.com", NOW) for number in (1, 2, 3, 4, 5, 9)),
        (1, "m2", "two.com", NOW - HOUR),
        (6, "m3", "several.com", NOW),
        (7, "m5", "one.com", NOW),
        (7, "m4", "two.com", NOW),
        (8, "m6", "two.com", NOW),
        (8, "m7", None, NOW + HOUR),
    ]
    people = [
        {"record_id": number, "message_id": name, "business_domain": domain, "happened_at": moment}
        for number, name, domain, moment in named
    ]
    owners = [("one.com", 31), ("two.com", 33), ("several.com", 31), ("several.com", 33)]
    given = inputs(people, owners=owners)
    asked = people_of(session, given, telling())
    found = identify._memberships(session, given, asked.values())
    assert found == [
        ("memberships", f"memberships:{contact}:{company}")
        for contact, company in ((1, 31), (3, 31), (4, 31), (5, 31), (7, 31), (8, 33))
    ]
    del asked["contacts:3"]
    assert len(identify._memberships(session, given, asked.values())) == 5


def test_a_row_is_about_the_record_that_absorbed_its_own(session: Session):
    merged(session, "contacts", 4, 7)
    merged(session, "companies", 4, 8)
    keys = ["contacts:4:abc", "companies:4:abc", "contacts:5:abc", "contacts:0f0f:abc"]
    assert identifying._now(session, keys) == dict(
        zip(keys, ["contacts:7", "companies:8", "contacts:5", "contacts:0f0f"], strict=True)
    )


def test_what_cannot_be_told_waits_in_quarantine_until_it_can(session: Session):
    told = telling()
    told.seen |= {"m1", "m2"}
    told.wrong |= {("m1", "contacts", "seats"): "not_a_number", ("m2", "contacts", "seats"): "not_a_number"}
    identify._report(session, told, NOW)

    def waiting() -> dict[str, str]:
        rows = session.query("SELECT key, reasons::VARCHAR AS why FROM quarantine.identify WHERE NOT resolved")
        return dict(rows.iter_rows())

    assert {key: "seats:not_a_number" in why for key, why in waiting().items()} == {
        "m1:told:contacts:seats": True, "m2:told:contacts:seats": True}  # fmt: skip
    again = telling()
    again.seen.add("m1")
    identify._report(session, again, NOW)
    assert list(waiting()) == ["m2:told:contacts:seats"], "a row that was not looked at waits on"
    assert json.dumps(waiting()) != "{}"
