"""What may join two people: forwarded mails, shared inboxes, limits, and what a person decides in the mapping."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.identity.durable import live_persons
from crm_attribution.layers import CLICKS, CREDITS, IDENTITY, TOUCHES, run
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED
from crm_attribution_tests.helpers import at
from crm_attribution_tests.identity.contacts import START, Contacts
from crm_attribution_tests.identity.test_identity import person_of
from crm_attribution_tests.marts import sample_rows

pytestmark = pytest.mark.warehouse

NOW = at("2026-06-01")


def rules(**changes: Any) -> Rules:
    return LOADED.model_copy(update={"identity": LOADED.identity.model_copy(update=changes)})


def update(session: Session, mapping: Rules = LOADED) -> dict[str, Any]:
    return run(IDENTITY, session, mapping, NOW).figures


def refused(session: Session) -> list[tuple[str, str, str]]:
    return session.read("identity.edge_rejected").select("node", "identifier", "rule").sort(pl.all()).rows()


def alias(session: Session, kind: str, identifier: str) -> str | None:
    rows = session.read("identity.alias", "identifier_type = ? AND identifier = ?", [kind, identifier])
    return None if rows.is_empty() else str(rows["person_id"].item())


def form(session: Session, number: str, email: str, **ids: str) -> None:
    when = START + timedelta(days=2)
    row = {"form_id": "f", "conversion_id": number, "submitted_at": when, "email": email, "extracted_at": when, **ids}
    sample_rows.fill(session, {"raw.form_submission": [row]})


def derived_touches(session: Session) -> list[tuple[Any, ...]]:
    """touch, person, account of each touch, once everything up to credit is derived."""
    update(session)
    run(CLICKS, session, LOADED, NOW)
    run(TOUCHES, session, LOADED, NOW)
    run(CREDITS, session, LOADED, NOW)
    return session.read("attribution.touch").sort("touch_id").select("touch_id", "person_id", "account_id").rows()


def click(session: Session, number: str, eid: str | None, **ids: str) -> None:
    sample_rows.fill(
        session, {"raw.link_click": [sample_rows.click(number, "2026-01-02T00:00:00Z", contact_id=eid, **ids)]}
    )


@pytest.mark.parametrize("first", ["click", "form"])
def test_a_forwarded_mail_joins_nobody(session: Session, first: str):
    crm = Contacts()
    ann, bob = crm.create("ann@a.example"), crm.create("bob@a.example")
    crm.tell(session)
    acts = [lambda: click(session, "k", ann, gclid="G"), lambda: form(session, "1", "Bob@a.example", gclid="G")]
    for act in acts if first == "click" else reversed(acts):
        act()
        update(session)
    assert person_of(session, ann) != person_of(session, bob)
    assert alias(session, "gclid", "G") == alias(session, "link_contact", ann) == person_of(session, ann)
    assert refused(session) == [("bob@a.example", "G", "two_live_contacts")]


def test_a_click_id_gives_a_form_s_unknown_address_to_the_contact(session: Session):
    crm = Contacts()
    ann = crm.create("ann@a.example")
    crm.tell(session)
    click(session, "k", ann)
    form(session, "1", "ann@private.example", link_click_id="k")
    update(session)
    assert alias(session, "email", "ann@private.example") == person_of(session, ann)


@pytest.mark.slow
def test_an_inbox_of_ten_thousand_contacts_joins_none_of_them(session: Session):
    crm = Contacts()
    for _ in range(10_000):
        crm.create("team@pool.example")
    for number in crm.created:
        crm.primary[number] = "reception@pool.example"
        crm.former[number] = ["reception@pool.example"]
    crm.tell(session)
    facts = update(session)
    assert facts["persons"] == 10_000
    assert facts["largest person (identifiers)"] <= LOADED.identity.person_size
    assert facts["rejected edges: shared_identifier"] == 10_000
    accounts = session.query("SELECT account_id, count(*) AS n FROM identity.membership GROUP BY ALL").rows()
    assert accounts == [("domain:pool.example", 10_000)]
    form(session, "1", "Reception@pool.example", gclid="G")
    form(session, "2", "reception@pool.example")
    click(session, "inbox", None, gclid="G")
    click(session, "mine", crm.live()[0])
    mail = {"id": "e", "created_at": START, "recipient": "reception@pool.example", "is_bot": False}
    sample_rows.fill(session, {"raw.email_click": [{**mail, "extracted_at": START}]})
    won = sample_rows.milestone("customer_won", "w", "2026-02-01T00:00:00Z", account="domain:pool.example", deal="1")
    sample_rows.fill(session, {"events.milestone": [won]})
    derived = derived_touches(session)
    assert [(touch, person is None, account) for touch, person, account in derived] == [
        ("click:inbox", True, "domain:pool.example"),
        ("click:mine", False, "domain:pool.example"),
        (f"email:{int(START.timestamp()) * 1000}:e", True, "domain:pool.example"),
        ("form:f:2", True, "domain:pool.example"),
    ], "touches stay on the account, and a submission that came with a click is that click"
    credit = session.query(
        "SELECT touch_id, sum(credit) FROM attribution.credit WHERE model = 'linear' GROUP BY 1"
    ).rows()
    assert sorted(credit) == [(touch, 250_000) for touch, _, _ in derived]
    session.journal.forget([CLICKS.name, TOUCHES.name])
    assert derived_touches(session) == derived, "as in a rebuild"


def test_a_chain_of_addresses_stops_at_the_limits(session: Session):
    crm = Contacts()
    for place in range(12):
        crm.add_email(crm.create(f"e{place}@a.example"), f"e{place + 1}@a.example")
    crm.tell(session)
    update(session, rules(person_size=6, person_emails=100))
    sizes = session.query("SELECT max(identifiers) AS n FROM identity.person")["n"].item()
    assert sizes <= 6
    assert {rule for _, _, rule in refused(session)} == {"person_size"}
    before = session.read("identity.alias").sort("identifier_type", "identifier").rows()
    crm.dirty = set(crm.created)
    crm.tell(session)
    assert update(session, rules(person_size=6, person_emails=100)).get("contacts moved", 0) == 0
    assert session.read("identity.alias").sort("identifier_type", "identifier").rows() == before


def test_a_person_s_word_ranks_above_all_and_is_taken_back(session: Session):
    crm = Contacts()
    ann, bea = crm.create("ann@a.example"), crm.create("bea@b.example")
    crm.tell(session)
    update(session)
    apart = {contact: person_of(session, contact) for contact in (ann, bea)}
    facts = update(session, rules(include=[(f"contact:{ann}", f"contact:{bea}")]))
    assert person_of(session, ann) == person_of(session, bea) == apart[ann]
    assert (facts["contacts moved"], facts["persons moved"]) == (1, 2)
    assert live_persons(session, [apart[bea], "never"]) == {apart[bea]: apart[ann]}, "an id once published leads on"
    update(session)
    assert person_of(session, ann) == apart[ann] != person_of(session, bea)


def test_a_manual_exclude_undoes_even_a_merge_of_the_crm(session: Session):
    crm = Contacts()
    ann, bea = crm.create("ann@a.example"), crm.create("bea@b.example")
    crm.tell(session)
    update(session)
    crm.merge(ann, bea, third=False)
    crm.tell(session)
    update(session)
    assert person_of(session, ann) == person_of(session, bea)
    facts = update(session, rules(exclude=[(f"contact:{ann}", f"contact:{bea}")]))
    assert person_of(session, ann) != person_of(session, bea)
    assert facts["contacts moved"] == 1
    assert "manual_exclude" in {rule for _, _, rule in refused(session)}
    update(session)
    assert person_of(session, ann) == person_of(session, bea)


def test_an_erased_contact_leaves_its_person_s_id_and_nothing_else(session: Session):
    crm = Contacts()
    ann, bob = crm.create("ann@a.example"), crm.create("bob@a.example")
    crm.tell(session)
    update(session)
    person = person_of(session, ann)
    for table, column in (("raw.contact", "id"), ("raw.property_history", "object_id")):
        session.connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [ann])
    session.journal.add("contacts", [ann])
    update(session)
    row = session.read("identity.person", "person_id = ?", [person]).row(0, named=True)
    assert (row["contacts"], row["identifiers"], row["contact_id"], row["root_contact_id"]) == (0, 0, None, None)
    for table in ("node", "edge", "edge_rejected", "alias", "membership"):
        left = session.query(f"SELECT * FROM identity.{table}")
        assert "ann@a.example" not in str(left.rows()), table
    assert live_persons(session, [person]) == {person: person}
    assert person_of(session, bob)


def test_an_erased_contact_takes_the_links_to_what_it_had_absorbed_along(session: Session):
    """A click may carry an id that was absorbed before we ever read the record."""
    crm = Contacts()
    ann = crm.create("ann@a.example")
    crm.tell(session)
    merge = {"object_type": "contacts", "absorbed_id": "99", "survivor_id": ann, "source": "hs_merged_object_ids"}
    sample_rows.fill(session, {"raw.merge": [merge]})
    session.journal.add("contacts", [ann, "99"])
    click(session, "k", "99")
    update(session)
    assert alias(session, "link_contact", "99") == person_of(session, ann)
    for table in ("raw.contact", "raw.property_history", "raw.merge", "raw.link_click"):
        session.connection.execute(f"DELETE FROM {table}")
    session.journal.add("contacts", [ann, "99"])
    update(session)
    assert session.read("identity.edge").is_empty()
    assert session.read("identity.alias").is_empty()
