"""Whose identifiers a due conversion carries, and what keeps them here: consent of several values, archived contacts,
records that cannot be read."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution import configuration
from crm_attribution.conversions import plan as conversions
from crm_attribution.conversions.consent import consent_of
from crm_attribution.conversions.recipients import (
    NO_CONTACT,
    _candidates,
    _choose,
    _clicks,
    _details,
    _resolved,
    _standing,
    resolver,
)
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Resolved
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED, Chain, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.marts import sample_rows
from crm_attribution_tests.sandbox.lines import create, day, join, update
from crm_attribution_tests.sandbox_process import Line

ENVIRONMENT = {
    "META_ACCESS_TOKEN": "token",
    "META_DATASET_ID": "dataset",
    "CRM_ATTRIBUTION_START": "2026-03-01T00:00:00Z",
}
CONSENTS = {
    1: "granted",
    2: "newsletter; Granted",
    3: "granted;denied",
    4: "newsletter",
    5: "",
}


def won(number: int, *contacts: int) -> list[Line]:
    made = create(day(2), "deals", number, dealname=f"D{number}", dealstage="closedwon", amount="10",
                  billing_period="annual")  # fmt: skip
    return [made, *(join(day(2), ("deals", number), ("contacts", contact)) for contact in contacts)]


def contact(number: int, when: str = day(1), **properties: str) -> Line:
    return create(when, "contacts", number, email=f"c{number}@buyer.example", **properties)


def resolved(chain: Chain, session: Session) -> dict[str, Resolved]:
    """Deal -> whom its win is about, at the claim."""
    conversions.update(session, chain.ledger, chain.mapping, configuration.load(ENVIRONMENT), at(day(9)))
    rows = session.read("conversions.conversion", "action = 'Purchase'")
    found = resolver(destinations()["meta"], chain.mapping)(session, rows)
    told = rows.join(session.read("events.milestone"), on=["milestone", "milestone_id"])
    names = told.select("conversion_id", pl.col("deal_id").cast(pl.String)).iter_rows()
    return {deal: found[conversion] for conversion, deal in names}


@pytest.mark.sandbox
def test_who_is_sent_and_who_is_not(tmp_path: Path):
    gone = {"at": day(3), "op": "archive", "object": "contacts", "id": "7"}
    lines = [
        *(contact(number, ad_consent=text) for number, text in CONSENTS.items()),
        *(contact(number, ad_consent="granted") for number in (7, 8, 9)),
        *(line for number in CONSENTS for line in won(number, number)),
        *won(20, 7, 8),
        *won(21, 9),
        gone,
        update(day(4), "contacts", 9, email="nobody at all", ad_consent="denied"),
    ]
    with Chain.start(tmp_path, lines, day(3, "10:00:00")) as chain:
        chain.run()
        chain.advance(day(5), since=at(day(4)))
        with chain.warehouse.session() as session:
            found = resolved(chain, session)
            assert [found[str(number)].consent for number in CONSENTS] == [
                "granted", "granted", "denied", "absent", "absent",
            ]  # fmt: skip
            assert str(found["20"].contact_id) == "8", "the other one is archived"
            assert (found["21"].consent, found["21"].email) == ("denied", None), (
                "told beside an address nobody can read"
            )
            whole = pl.DataFrame({"key": ["1"], "reasons": ["properties:missing"], "row": ["{}"], "source": ["x"]})
            session.quarantine.add("raw.contact", whole, observed_at=at(day(6)))
            session.quarantine.add("raw.deal", whole.with_columns(key=pl.lit("2")), observed_at=at(day(6)))
            found = resolved(chain, session)
            assert [found[deal].held for deal in ("1", "2", "3", "20")] == ["record_unreadable"] * 2 + [None] * 2


# --- one contact of several

WON = at("2026-03-10T12:00:00Z")
MOMENT = pl.Datetime("us", "UTC")
CANDIDATE: dict[str, Any] = {
    **dict.fromkeys(("conversion_id", "person_id", "_sent_touch", "_sent_person"), pl.String),
    **{
        "contact_id": pl.Int64,
        "_sent_contact": pl.Int64,
        "_survivor": pl.Int64,
        "occurred_at": MOMENT,
        "place": pl.Int64,
    },
    **dict.fromkeys(("labelled", "sent"), pl.Boolean),
}
CLICK: dict[str, Any] = {
    **dict.fromkeys(("conversion_id", "person_id", "touch_id", "click_id", "click_kind"), pl.String),
    "clicked_at": MOMENT,
}
contacts = st.lists(
    st.tuples(st.booleans(), st.sampled_from([None, None, 1, 2, 3]), st.sampled_from([1, 2, 3])), min_size=1, max_size=5
)
"""Of each contact in the order of their creation: labelled, hours from its click to the win, and a number that orders
the ids otherwise than the age does."""


def candidate(number: int, person: str = "p", **more: Any) -> dict[str, Any]:
    return {"conversion_id": "c", "contact_id": number, "person_id": person, "occurred_at": WON, "sent": False,
            "labelled": False, "place": 0, "_survivor": more.get("_sent_contact"), **more}  # fmt: skip


def choose(candidates: list[dict[str, Any]], clicks: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    found = _choose(pl.DataFrame(candidates, schema=CANDIDATE), pl.DataFrame(clicks, schema=CLICK))
    return found.select("conversion_id", "contact_id", "touch_id").rows()


@settings(max_examples=150 * TIMES)
@given(known=contacts, sent=st.sampled_from([None, 0, 1, 9]), shuffle=st.randoms(use_true_random=False))
def test_labelled_before_the_latest_click_before_the_earliest_created(known: Any, sent: int | None, shuffle: Any):
    """Against a plain reading, the rows in any order; who was sent before stays, or nobody is sent."""
    ids = [100 * order + place for place, (_, _, order) in enumerate(known)]
    was = None if sent is None else ids[sent] if sent < len(ids) else 7
    rows = [candidate(ids[place], f"p{place}", labelled=label, place=place, sent=was is not None, _sent_contact=was)
            for place, (label, _, _) in enumerate(known)]  # fmt: skip
    clicks = [{"conversion_id": "c", "person_id": f"p{place}", "touch_id": f"t{place}", "click_id": "x",
               "clicked_at": WON - timedelta(hours=hours)}
              for place, (_, hours, _) in enumerate(known) if hours is not None]  # fmt: skip

    def rank(place: int) -> tuple[bool, float, int]:
        label, hours, _ = known[place]
        return (not label, float("inf") if hours is None else hours, place)

    best = ids.index(was) if was in ids else min(range(len(known)), key=rank)
    touch = None if known[best][1] is None else f"t{best}"
    shuffle.shuffle(rows)
    shuffle.shuffle(clicks)
    assert choose(rows, clicks) == ([] if was == 7 else [("c", ids[best], touch)])


def test_values_of_consent_are_compared_in_any_case_and_archived_contacts_are_held():
    consent = LOADED.consent.model_copy(update={"granted": ["Yes"], "denied": ["No"]})
    mapping = LOADED.model_copy(update={"consent": consent})
    known = dict.fromkeys(("person_id", "contact_id", "touch_id", "email", "click_id", "click_kind", "clicked_at",
                           "phone", "first_name", "last_name", "country", "lead_id"))  # fmt: skip
    several = {("yes", None): "granted", (None, "yes"): "granted", ("yes", "no"): "denied", (None, None): "absent"}
    for texts_of_both, told in several.items():
        assert consent_of(texts_of_both, mapping) == told
    texts = {"yes": "granted", "YES; no": "denied", "No": "denied", "other": "absent"}
    for text, told in texts.items():
        row = {**known, "consent": [text], "unreadable": False, "archived": False}
        assert (_resolved(row, mapping).consent, _resolved(row, mapping).held) == (told, None)
        assert _resolved({**row, "archived": True}, mapping).held == "contact_archived"
        assert _resolved({**row, "archived": True, "unreadable": True}, mapping).held == "record_unreadable"


def test_what_was_sent_without_a_contact_gets_none_later():
    """The contacts a deal has by now had no part in it."""
    assert choose([candidate(1, sent=True, _sent_contact=None)], []) == []
    assert choose([candidate(1, _sent_contact=None)], []) == [("c", 1, None)]


@pytest.mark.warehouse
def test_the_latest_click_of_the_platform_inside_the_window(session: Session):
    """Both ends of the window count; of clicks of one instant the greater id; a sent row keeps the click it had."""
    moments = {"a": WON - timedelta(days=90), "b": WON, "c": WON, "before": WON - timedelta(days=90, seconds=1),
               "after": WON + timedelta(seconds=1), "other": WON - timedelta(hours=1),
               "z": WON - timedelta(hours=2)}  # fmt: skip
    who = {"a": "p1", "before": "p1", "b": "p2", "c": "p2", "other": "p2", "z": "p2", "after": "p3"}
    given = [sample_rows.click(name, moment.isoformat(), fbclid=None if name == "other" else f"id-{name}")
             for name, moment in moments.items()]  # fmt: skip
    touches = [sample_rows.touch(f"click:{name}", moment.isoformat(), who[name], None, "x", "", "", "")
               for name, moment in moments.items()]  # fmt: skip
    form = {"form_id": "f", "conversion_id": "1", "submitted_at": WON, "fbclid": "id-form", "extracted_at": WON}
    touches.append(sample_rows.touch("form:f:1", (WON - timedelta(days=1)).isoformat(), "p4", None, "x", "", "", ""))
    sample_rows.fill(session, {"raw.link_click": given, "raw.form_submission": [form], "attribution.touch": touches})
    rows = [candidate(place, person) for place, person in enumerate(("p1", "p2", "p3", "p4"))]
    again = {"conversion_id": "again", "sent": True, "_sent_touch": "click:before"}

    def clicks(kinds: str, *more: dict[str, Any]) -> list[tuple[Any, ...]]:
        frame = pl.DataFrame([*rows, *more], schema=CANDIDATE)
        found = _clicks(session, frame, kinds.split(), 90, LOADED.identity.click_id_properties)
        return sorted(found.select("conversion_id", "person_id", "touch_id", "click_id", "clicked_at").rows())

    assert clicks("fbclid", candidate(9, "p1", **again)) == [
        ("again", "p1", "click:before", "id-before", moments["before"]),
        ("c", "p1", "click:a", "id-a", moments["a"]),
        ("c", "p2", "click:c", "id-c", WON),
        ("c", "p4", "form:f:1", "id-form", WON - timedelta(days=1)),
    ]
    assert clicks("") == []


@pytest.mark.warehouse
def test_of_the_ids_of_one_click_the_first_of_the_platform_s_counts(session: Session):
    ids = {
        "both": {"gclid": "g", "gbraid": "b"},
        "app": {"gbraid": "b"},
        "web": {"wbraid": "w"},
        "none": {"fbclid": "f"},
    }
    none = dict.fromkeys(("gclid", "gbraid", "wbraid", "fbclid"))
    sample_rows.fill(session, {
        "raw.link_click": [sample_rows.click(name, WON.isoformat(), **(none | given)) for name, given in ids.items()],
        "attribution.touch": [sample_rows.touch(f"click:{name}", WON.isoformat(), name, None, "x", "", "", "")
                              for name in ids],
    })  # fmt: skip
    frame = pl.DataFrame([candidate(place, name) for place, name in enumerate(ids)], schema=CANDIDATE)
    found = _clicks(session, frame, ["gclid", "gbraid", "wbraid"], 90, {})
    assert sorted(found.select("person_id", "click_id", "click_kind").rows()) == [
        ("app", "b", "gbraid"), ("both", "g", "gclid"), ("web", "w", "wbraid"),
    ]  # fmt: skip


@pytest.mark.warehouse
def test_a_deals_contacts_the_earliest_created_first_whatever_their_ids(session: Session):
    """Archived contacts, former ones and those of other deals are not among them; of one age the smaller id."""
    ages = {"9": 1, "3": 2, "20": 3, "100": 3, "5": 0, "6": 0, "7": 0}
    known = [sample_rows.record(number, created_at=at(day(1 + age)), archived=number == "5")
             for number, age in ages.items()]  # fmt: skip
    ties = [{"from_type": "deals", "from_id": "60" if number == "6" else "50", "to_type": "contacts", "to_id": number,
             "type_ids": ["3"], "labels": [f"of {number}"], "is_primary": False, "position": 0,
             "valid_from": at(day(1)), "valid_to": at(day(2)) if number == "7" else None}
            for number in ages]  # fmt: skip
    names = [{"identifier_type": "contact", "identifier": number, "person_id": f"p{number}"} for number in ages]
    sample_rows.fill(session, {"raw.contact": known, "raw.association": ties, "identity.alias": names})
    found = conversions.deal_contacts(session, pl.Series("deal_id", [50], dtype=pl.Int64))
    assert found.select("deal_id", "contact_id", "person_id", pl.col("labels").list.first()).rows() == [
        (50, number, f"p{number}", f"of {number}") for number in (9, 3, 20, 100)
    ]


def due(number: str, fact: str, milestone: str = "customer_won", **more: Any) -> dict[str, Any]:
    """A due row of a fact, as the ledger has it."""
    return {"conversion_id": number, "milestone": milestone, "milestone_id": fact, "occurred_at": WON,
            "contact_id": None, "touch_id": None, "payload_hash": None, **more}  # fmt: skip


DUE: dict[str, Any] = {
    **dict.fromkeys(
        ("conversion_id", "milestone", "milestone_id", "touch_id", "payload_hash", "adjusts", "person_id", "action"),
        pl.String,
    ),
    "contact_id": pl.Int64,
    "occurred_at": MOMENT,
}


@pytest.mark.warehouse
def test_facts_that_stand_are_looked_at_and_what_was_sent_always_is(session: Session):
    """A fact has several events and names; where one name of it stands, it stands."""
    stamp = WON.isoformat()
    facts = [
        sample_rows.milestone("customer_won", "w1", stamp, account="a", deal="1", state="reversed", reason="lost"),
        sample_rows.milestone("customer_expanded", "x1", stamp, account="a", deal="2", linked_event_ids=["x1", "w1"]),
        sample_rows.milestone("customer_won", "w2", stamp, account="a", deal="3", state="reversed", reason="lost"),
        sample_rows.milestone("lead_captured", "w2", stamp, person="p"),
        sample_rows.milestone("lead_captured", "l1", stamp, person="q", linked_event_ids=["l1", "l2"]),
    ]
    sample_rows.fill(session, {"events.milestone": facts})
    rows = [due("renamed", "w1"), due("reversed", "w2"), due("linked", "l2", "lead_captured"), due("gone", "w9")]
    rows += [due("reversed, sent", "w2", payload_hash="x"), due("gone, sent", "w9", payload_hash="x")]
    found = _standing(session, pl.DataFrame(rows, schema=DUE))
    assert {row["conversion_id"]: (row["deal_id"], row["_person"], row["sent"]) for row in found.rows(named=True)} == {
        "renamed": (2, None, False),
        "linked": (None, "q", False),
        "reversed, sent": (3, None, True),
        "gone, sent": (None, None, True),
    }


@pytest.mark.warehouse
def test_a_fact_of_a_person_is_about_that_person_one_of_a_deal_about_its_contacts(session: Session):
    """Also where a fact names both; of the deal's contacts the earliest created comes first, whatever its id."""
    stamp = WON.isoformat()
    facts = [
        sample_rows.milestone("lead_captured", "l", stamp, person="p1"),
        sample_rows.milestone("lead_captured", "both", stamp, person="p1", deal="50"),
        sample_rows.milestone("customer_won", "w", stamp, account="a", deal="50"),
        sample_rows.milestone("customer_won", "own", stamp, account="a"),
    ]
    ties = [{"from_type": "deals", "from_id": "50", "to_type": "contacts", "to_id": number, "type_ids": ["3"],
             "labels": labels, "is_primary": False, "position": 0, "valid_from": WON}
            for number, labels in (("2", ["Buyer", "Payer"]), ("3", ["User"]))]  # fmt: skip
    sample_rows.fill(session, {
        "events.milestone": facts,
        "raw.association": ties,
        "raw.contact": [sample_rows.record("2", created_at=at(day(2))), sample_rows.record("3", created_at=at(day(1)))],
        "identity.alias": [{"identifier_type": "contact", "identifier": number, "person_id": f"p{number}"}
                           for number in ("2", "3")],
        "identity.person": [{"person_id": "p1", "contact_id": "1", "first_seen": WON, "contacts": 1}],
    })  # fmt: skip
    rows = [due(name, name, "customer_won" if name in ("w", "own") else "lead_captured")
            for name in ("l", "both", "w", "own")]  # fmt: skip
    live = _standing(session, pl.DataFrame(rows, schema=DUE))

    def found(label: str | None) -> list[tuple[Any, ...]]:
        columns = ["conversion_id", "contact_id", "person_id", "place", "labelled"]
        return sorted(_candidates(session, live, label).select(columns).rows())

    persons = [("both", 1, "p1", 0, False), ("l", 1, "p1", 0, False)]
    assert found(None) == [*persons, ("w", 2, "p2", 1, False), ("w", 3, "p3", 0, False)]
    assert found("Payer") == [*persons, ("w", 2, "p2", 1, True), ("w", 3, "p3", 0, False)]


@pytest.mark.warehouse
def test_who_was_sent_stays_whom_it_is_about_where_they_have_been_merged_since(session: Session):
    """A second send of one key is of the same person and contact; what is known of them is the survivor's."""
    sample_rows.fill(session, {
        "events.milestone": [sample_rows.milestone("lead_captured", "l", WON.isoformat(), person="older")],
        "raw.contact": [sample_rows.record("8", email="now@buyer.example", properties='{"ad_consent": "granted"}')],
        "raw.merge": [sample_rows.merge("contacts", "7", "8")],
        "identity.person": [{"person_id": "older", "contact_id": "8", "first_seen": WON, "contacts": 1}],
    })  # fmt: skip
    sent = due("c", "l", "lead_captured", payload_hash="x", contact_id=7, person_id="younger")
    found = resolver(destinations()["meta"], LOADED)(session, pl.DataFrame([sent], schema=DUE))["c"]
    assert (found.contact_id, found.person_id, found.email) == (7, "younger", "now@buyer.example")
    assert (found.consent, found.held) == ("granted", None)


@pytest.mark.warehouse
def test_what_the_browser_called_an_event_is_read_from_the_property_of_its_rule(session: Session, tmp_path: Path):
    """Other rules have none, and what is no id of an event is none."""
    told = {"1": " evt-1 ", "2": "", "3": "two words", "4": "ann@buyer.example", "5": "x" * 129}
    milestones = [("lead_captured", number) for number in told] + [("qualified_lead", "1")]
    sample_rows.fill(session, {
        "events.milestone": [sample_rows.milestone(name, f"{name}{number}", WON.isoformat(), person=f"p{number}")
                             for name, number in milestones],
        "raw.contact": [sample_rows.record(number, properties=json.dumps({"pixel": text, "other": "wrong"}))
                        for number, text in told.items()],
        "identity.person": [{"person_id": f"p{number}", "contact_id": number, "first_seen": WON, "contacts": 1}
                            for number in told],
    })  # fmt: skip
    mapped = rules(
        tmp_path,
        """
destinations:
  meta:
    conversions:
      - {milestone: sales_qualified_lead, action: Other, browser_event_id: other}
      - {milestone: lead_captured, action: Lead, browser_event_id: pixel}
      - {milestone: qualified_lead, action: Qualified}
""",
    )
    rows = [due(f"{name}{number}", f"{name}{number}", name, action="Lead" if name == "lead_captured" else "Qualified")
            for name, number in milestones]  # fmt: skip
    found = resolver(destinations()["meta"], mapped)(session, pl.DataFrame(rows, schema=DUE))
    assert {key: one.browser_event_id for key, one in found.items()} == {
        "lead_captured1": "evt-1", "lead_captured2": None, "lead_captured3": None, "lead_captured4": None,
        "lead_captured5": None, "qualified_lead1": None,
    }  # fmt: skip


@pytest.mark.warehouse
def test_a_deal_without_contacts_has_no_consent_to_ask_for(session: Session):
    """It is held for its identifiers; a row sent before, whose person is gone, is left out."""
    sample_rows.fill(session, {"events.milestone": [sample_rows.milestone("customer_won", "w", WON.isoformat(),
                                                                          account="a", deal="1")]})  # fmt: skip
    rows = pl.DataFrame([due("a", "w"), due("sent", "w", payload_hash="x", contact_id=7)], schema=DUE)
    assert resolver(destinations()["meta"], LOADED)(session, rows) == {"a": NO_CONTACT}


@pytest.mark.warehouse
def test_an_absorbed_contact_is_read_from_the_record_that_has_it_now(session: Session):
    """Of merges only those of contacts; unreadable is what is neither settled nor stored, once for each row."""
    told = json.dumps({"ad_consent": "granted", "phone": " ", "mobilephone": "1", "firstname": "Ann", "lastname": "Bee",
                       "meta_lead_id": "9", "work.country": "France"})  # fmt: skip
    named = LOADED.identifiers.model_copy(update={"lead_id": ["meta_lead_id"], "country": ["x", "work.country"]})
    mapping = LOADED.model_copy(update={"identifiers": named})
    known = [sample_rows.record(number, email=f"c{number}@buyer.example", properties=told, archived=number == "6")
             for number in ("5", "6", "7", "8", "9")]  # fmt: skip
    merges = [sample_rows.merge(*ends) for ends in (("contacts", "7", "8"), ("companies", "5", "9"))]
    sample_rows.fill(session, {"raw.contact": known, "raw.merge": merges})
    refused = {"8": (False, False), "5": (True, False), "6": (False, True)}
    for number, (stored, settled) in refused.items():
        bad = pl.DataFrame({"key": number, "reasons": ["email:text", "owner:text"]}).with_columns(
            row=pl.lit("{}"), source=pl.lit("x"), stored=pl.lit(stored)
        )
        session.quarantine.add("raw.contact", bad, observed_at=WON)
        session.quarantine.add("raw.deal", bad.with_columns(key=pl.lit("5" + number)), observed_at=WON)
        if settled:
            for table in ("contact", "deal"):
                session.connection.execute(f"UPDATE quarantine.{table} SET resolved = true WHERE key LIKE '%{number}'")
    chosen = pl.DataFrame({"conversion_id": list("abcd"), "contact_id": [5, 6, 7, 9], "deal_id": [55, 56, 57, 58]})
    found = _details(session, chosen, mapping)
    columns = ["conversion_id", "email", "archived", "unreadable"]
    assert found.select(columns).rows() == [
        ("a", "c5@buyer.example", False, False),
        ("b", "c6@buyer.example", True, False),
        ("c", "c8@buyer.example", False, True),
        ("d", "c9@buyer.example", False, True),
    ]
    read = ["phone", "first_name", "last_name", "country", "lead_id"]
    assert set(found.select(read).rows()) == {("1", "Ann", "Bee", "France", "9")}
    assert {tuple(one) for one in found["consent"]} == {("granted",)}


@pytest.mark.warehouse
def test_the_country_is_the_contact_s_or_its_company_s(session: Session):
    """By it a national phone number is read; a company that was absorbed is the one that has it now."""
    at_home = json.dumps({"hs_country_region_code": "AT", "country": "France", "phone": "0170 1234567"})
    abroad = json.dumps({"country": "Austria"})
    people = {"1": (at_home, "11"), "2": ("{}", "11"), "3": ("{}", "12"), "4": ("{}", None)}
    contacts = [sample_rows.record(number, email=f"c{number}@buyer.example", properties=told, associatedcompanyid=firm)
                for number, (told, firm) in people.items()]  # fmt: skip
    companies = [{"id": 11, "properties": abroad}, {"id": 13, "properties": '{"country": "Chile"}'}]
    firms = [{**sample_rows.record(str(one["id"])), **one} for one in companies]
    sample_rows.fill(session, {"raw.contact": contacts, "raw.company": firms,
                               "raw.merge": [sample_rows.merge("companies", "12", "13")]})  # fmt: skip
    chosen = pl.DataFrame({"conversion_id": list("abcd"), "contact_id": [1, 2, 3, 4], "deal_id": [None] * 4},
                          schema_overrides={"deal_id": pl.Int64})  # fmt: skip
    found = _details(session, chosen, LOADED)
    assert found.sort("conversion_id")["country"].to_list() == ["AT", "Austria", "Chile", None]
