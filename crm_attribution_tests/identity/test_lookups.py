"""Which contact an e-mail names, asked of rows that differ in one thing each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.identity.lookups import emails_of, one_contact
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at

pytestmark = pytest.mark.warehouse

SEEN = at("2026-03-01T00:00:00Z")
PRIMARY, FURTHER, FORMER = "primary_email", "additional_email", "email_history"
CASES: dict[str, tuple[list[tuple[int, str, str, int]], int | None]] = {
    # (contact, person, rule, days after the first), the contact it names; contacts from 90 on are archived
    "alone": ([(1, "p", PRIMARY, 0)], 1),
    "two persons": ([(1, "p", PRIMARY, 0), (2, "q", PRIMARY, 0)], None),
    "the stronger rule, not the older": ([(1, "p", FURTHER, 0), (2, "p", PRIMARY, 5)], 2),
    "the older of one rule, not the smaller id": ([(1, "p", PRIMARY, 5), (2, "p", PRIMARY, 0)], 2),
    "of one age the smaller id": ([(2, "p", PRIMARY, 0), (1, "p", PRIMARY, 0)], 1),
    "an archived one where nobody else has it": ([(90, "p", PRIMARY, 0)], 90),
    "a present one before an archived one": ([(90, "p", PRIMARY, 0), (1, "q", FURTHER, 9)], 1),
    "a former address does not compete": ([(1, "p", FORMER, 0), (2, "q", FURTHER, 9)], 2),
    "a former address of a live one before an archived one": ([(1, "p", FORMER, 0), (90, "q", PRIMARY, 0)], 1),
    "a present one of two that are archived": ([(90, "p", FORMER, 0), (91, "q", PRIMARY, 9)], 91),
    "two former ones of two persons": ([(1, "p", FORMER, 0), (2, "q", FORMER, 9)], None),
    "absorbed": ([(50, "p", PRIMARY, 0), (2, "q", FORMER, 9)], 5),
    "without a person": ([(7, "", PRIMARY, 0), (1, "p", PRIMARY, 9)], 1),
}


def stored(session: Session, table: str, rows: list[dict[str, Any]]) -> None:
    schema = {name: kind for name, kind in CONTRACTS[table].polars_schema.items() if name in rows[0]}
    session[table].upsert(pl.DataFrame(rows, schema=schema))


def test_an_email_names_one_person_and_of_its_contacts_the_one_that_has_it(session: Session):
    for number, (name, (told, _)) in enumerate(CASES.items()):
        # a contact of each case is another record, so that cases do not meet
        stored(session, "identity.edge", [
            {"node_type": "contact", "node": str(1000 * number + contact), "identifier_type": "email",
             "identifier": name, "contact_id": 1000 * number + contact, "rule": rule, "source": "x",
             "first_seen": SEEN + timedelta(days=days), "last_seen": SEEN}
            for contact, _, rule, days in told
        ])  # fmt: skip
        mine = {5 if contact == 50 else contact: person for contact, person, *_ in told}
        contacts = [
            {"id": 1000 * number + contact, "properties": "{}", "created_at": SEEN, "modified_at": SEEN,
             "archived": contact >= 90, "extracted_at": SEEN}
            for contact in mine
        ]  # fmt: skip
        stored(session, "raw.contact", contacts)
        named = [
            {"identifier_type": "contact", "identifier": str(1000 * number + contact), "person_id": f"{person}{number}"}
            for contact, person in mine.items()
            if person
        ]
        stored(session, "identity.alias", named)
    absorbed = 1000 * list(CASES).index("absorbed")
    merge = {"object_type": "contacts", "absorbed_id": absorbed + 50, "survivor_id": absorbed + 5, "merged_at": SEEN}
    stored(session, "raw.merge", [{**merge, "source": "hs_merged_object_ids"}])
    asked = pl.DataFrame({"email": [*CASES, "nobody's"]})
    found = dict(session.query(one_contact("asked"), asked=asked).iter_rows())
    assert {name: found[name] % 1000 if name in found else None for name in asked["email"]} == {
        **{name: expected for name, (_, expected) in CASES.items()}, "nobody's": None}  # fmt: skip
    one = list(CASES).index("two persons")
    persons = pl.DataFrame({"person_id": [f"q{one}", f"p{0}"]})
    assert set(session.query(emails_of("persons"), persons=persons)["email"]) == {"two persons", "alone"}
