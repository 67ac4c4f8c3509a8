"""HubSpot is told what other systems know of people and companies: on change only, in any order, once each."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.delivery.provision import provision
from crm_attribution.sources.identify import SOURCE
from crm_attribution_tests.delivery.telling import Telling
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import OPENED, click, create, join, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

MAPPING = """
write_back:
  events:
    rules:
      - {on: track, condition: {events: [plan_*]}, event: plan_changed,
         properties: {plan: "{event} {properties[plan]}"}}
  identify: {tell: [contacts, companies]}
"""
PORTAL: list[Line] = [
    {"at": OPENED, "op": "account", "account": {"portalId": 4242, "timeZone": "Europe/Berlin"}},
    create("2026-03-01T08:00:00Z", "companies", 31, name="Quelle", domain="quelle.example"),
    create("2026-03-01T08:00:00Z", "companies", 32, name="Twin", domain="twin.example"),
    create("2026-03-01T08:00:00Z", "companies", 33, name="Twin too", domain="twin.example"),
    create("2026-03-01T08:00:00Z", "contacts", 11, email="ann@quelle.example", lifecyclestage="opportunity"),
    create("2026-03-01T08:00:00Z", "contacts", 12, email="ben@quelle.example", lifecyclestage="lead"),
]
PROPERTIES = {
    "contacts": [("plan", "string"), ("seats", "number"), ("trial_ends", "date"), ("seen_at", "datetime")],
    "companies": [("plan", "string"), ("numberofemployees", "number")],
}
TO = ("hubspot_identify", "hubspot_events")


def told_portal(folder: Path, clock: str = "2026-03-02T10:00:00Z") -> Any:
    return Telling.start(folder, PORTAL, clock, MAPPING)


def ready(told: Telling) -> None:
    """Have the properties of the files, and those that provision makes."""
    for kind, properties in PROPERTIES.items():
        told.chain.sandbox.set_properties(kind, add=[{"name": name, "type": how} for name, how in properties])
    options(told, "gold")
    found = provision(told.chain.mapping, told.settings(), act=True)
    assert {one.state for one in found} == {"ok"}, found


def options(told: Telling, *values: str) -> None:
    """The options of the contacts' `tier` from now on."""
    tier = {"name": "tier", "type": "enumeration", "options": [{"value": one, "label": one} for one in values]}
    told.chain.sandbox.set_properties("contacts", add=[tier])


def drop(told: Telling, *rows: dict[str, Any]) -> None:
    """Drop a file of rows, told now."""
    folder = told.chain.folder / "inbox" / SOURCE.folder
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{random.getrandbits(40):010x}.ndjson"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def of(told: Telling, kind: str, identifier: int | str, *names: str) -> dict[str, str | None]:
    asked = ",".join(names)
    _, record = told.chain.sandbox.hubspot("GET", f"/crm/objects/2026-03/{kind}/{identifier}?properties={asked}")
    return {name: record["properties"].get(name) for name in names}


def found(told: Telling, kind: str, name: str, value: str) -> list[str]:
    """Ids of the records that have a value."""
    body = {"filterGroups": [{"filters": [{"propertyName": name, "operator": "EQ", "value": value}]}], "limit": 9}
    _, answer = told.chain.sandbox.hubspot("POST", f"/crm/objects/2026-03/{kind}/search", body)
    return [one["id"] for one in answer["results"]]


def test_people_and_companies_are_told_once_and_on_change_only(tmp_path: Path):
    at = "2026-03-02T09:{:02d}:00Z".format
    with told_portal(tmp_path) as told:
        ready(told)
        drop(
            told,
            {
                "kind": "identify",
                "happened_at": at(1),
                "email": "ANN@quelle.example",
                "properties": {
                    "Plan": "pro",
                    "Seats": 5,
                    "trial ends": "2026-04-01T22:30:00-05:00",
                    "seen_at": "2026-03-02T10:00:00+01:00",
                    "lifecycle_stage": "Marketing Qualified Lead",
                    "first name": "Ann",
                    "address": {"city": "Bonn"},
                    "shoe size": 38,
                    "hs_analytics_source": "DIRECT_TRAFFIC",
                },
            },
            {"kind": "identify", "happened_at": at(3), "contact_id": "11", "properties": {"plan": "max"}},
            {"kind": "identify", "happened_at": at(2), "email": "ann@quelle.example", "properties": {"plan": "basic"}},
            {
                "kind": "identify",
                "happened_at": at(1),
                "email": "ben@quelle.example",
                "lifecycle_stage": "customer",
                "website": "https://www.quelle.example/about?x=1",
            },
            {
                "kind": "identify",
                "happened_at": at(1),
                "email": "n\x00ew@firm.example\x07",
                "plan": "p\x00ro",
                "seats": "many",
                "tier": "platinum",
                "website": "https://shop.firm.example/pricing",
            },
            {"kind": "group", "happened_at": at(1), "website": "http://firm.example", "employees": 12, "plan": "team"},
            {"kind": "group", "happened_at": at(1), "website": "twin.example", "plan": "team"},
            {"kind": "group", "happened_at": at(1), "website": "mail.buyer.example", "plan": "team"},
            {
                "kind": "track",
                "happened_at": at(1),
                "email": "ANN@quelle.example",
                "event": "Plan Upgraded",
                "plan": "max",
            },
            {"kind": "track", "happened_at": at(1), "email": "new@firm.example", "event": "Plan Ended"},
            {"kind": "track", "happened_at": at(1), "email": "ben@quelle.example", "event": "Looked around"},
        )
        report = told.hour(to=TO)["hubspot_identify"]
        assert report.stopped is None
        assert of(told, "contacts", 11, "plan", "seats", "trial_ends", "seen_at", "firstname", "city") == {
            "plan": "max",
            "seats": "5",
            "trial_ends": "2026-04-02",
            "seen_at": "2026-03-02T09:00:00Z",
            "firstname": "Ann",
            "city": "Bonn",
        }
        # forward only
        assert of(told, "contacts", 11, "lifecyclestage") == {"lifecyclestage": "opportunity"}
        assert of(told, "contacts", 12, "lifecyclestage") == {"lifecyclestage": "customer"}
        (person,), (company,) = (
            found(told, "contacts", "email", "new@firm.example"),
            found(told, "companies", "domain", "firm.example"),
        )
        assert of(told, "contacts", person, "plan") == {"plan": "pro"}
        assert of(told, "companies", company, "plan", "numberofemployees") == {
            "plan": "team",
            "numberofemployees": "12",
        }
        assert of(told, "companies", 32, "plan") == {"plan": None}
        assert sorted((row["key"].partition(":told:")[2], row["reasons"]) for row in quarantined(told)) == [
            ("companies:domain", "domain:names_no_company"),
            ("companies:domain", "domain:several_companies_have_the_domain"),
            ("contacts:hs_analytics_source", "hs_analytics_source:not_to_be_written"),
            ("contacts:seats", "seats:not_a_number"),
            ("contacts:shoe_size", "shoe_size:no_such_property"),
            ("contacts:tier", "tier:no_such_option"),
        ]
        # what was made is read, and then associated; a known pair was in the first hour
        written = len(told.counted("hubspot_identify"))
        assert told.hour("2026-03-02T11:00:00Z", to=TO)["hubspot_identify"].requests == 1
        assert associated(told, person) == [company]
        assert associated(told, "12") == ["31"]
        events = [(one["eventName"], one["objectId"], one["properties"]["plan"]) for one in told.counted()]
        assert events == [
            ("pe4242_plan_changed", "11", "plan_upgraded max"),
            ("pe4242_plan_changed", person, "plan_ended"),
        ]
        # said again, and read back: nothing is written
        drop(
            told,
            {"happened_at": "2026-03-02T11:30:00Z", "email": "ann@quelle.example", "plan": "max", "seats": 5},
            {"happened_at": "2026-03-02T08:00:00Z", "email": "ann@quelle.example", "plan": "old", "seats": 1},
        )
        for clock in ("2026-03-02T12:00:00Z", "2026-03-02T13:00:00Z"):
            assert told.hour(clock, to=TO)["hubspot_identify"].requests == 0
        assert len(told.counted("hubspot_identify")) == written + 1
        # the stage that was told is told back, and is no event; one that somebody sets is
        told.chain.sandbox.log([update("2026-03-02T13:10:00Z", "contacts", 12, lifecyclestage="evangelist")])
        assert stages_of(told, 12) == {"lead"}
        # a change is written alone; a value that comes back too; a property that is there now is told of what waited
        drop(told, {"happened_at": "2026-03-02T13:30:00Z", "email": "new@firm.example", "plan": "max"})
        told.chain.sandbox.set_properties("contacts", add=[{"name": "shoe_size", "type": "number"}])
        options(told, "gold", "platinum")
        told.hour("2026-03-02T14:00:00Z", to=TO)
        assert "evangelist" in stages_of(told, 12)
        assert {str(one["properties"]) for one in told.counted("hubspot_identify")[written + 1 :]} == {
            "{'shoe_size': '38'}",
            "{'plan': 'max', 'tier': 'platinum'}",
        }
        drop(told, {"happened_at": "2026-03-02T14:30:00Z", "email": "new@firm.example", "plan": "pro"})
        told.hour("2026-03-02T15:00:00Z", to=TO)
        assert of(told, "contacts", person, "plan") == {"plan": "pro"}
        assert not {"contacts:shoe_size", "contacts:tier"} & {
            row["key"].partition(":told:")[2] for row in quarantined(told)
        }


def quarantined(told: Telling) -> list[dict[str, Any]]:
    with told.chain.warehouse.session() as session:
        return session.query("SELECT key, reasons FROM quarantine.identify WHERE NOT resolved").rows(named=True)


def stages_of(told: Telling, contact: int) -> set[str]:
    with told.chain.warehouse.session() as session:
        return set(session.query("SELECT to_stage FROM events.event WHERE object_id = ?", [contact])["to_stage"])


def associated(told: Telling, contact: str) -> list[str]:
    _, answer = told.chain.sandbox.hubspot("GET", f"/crm/objects/2026-03/contacts/{contact}/associations/companies")
    return [str(one["toObjectId"]) for one in answer["results"]]


# --- computed traits and audiences

TRAITS = """
write_back:
  events: {rules: [{on: audience_entered, properties: {audience: "{event}"}}, {on: audience_exited, event: left}]}
  identify:
    tell: [contacts, companies]
    traits: [clicks_7, active_people, hot, engaged_people_30_days, consent, gone, no_text, seats, nowhere]
"""
FILES = {
    "clicks_7": """-- Clicks of a person in a week.
-- @subject: person
-- @look_back: 7
-- @trait clicks_7 [number]: how many
SELECT person_id, count(*) AS clicks_7 FROM attribution.touch
WHERE kind = 'link_click' AND touched_at >= {since} GROUP BY ALL
""",
    "active_people": """-- People of an account who ever clicked.
-- @subject: account
-- @tell: companies
-- @trait active_people [number]: how many
SELECT account_id, count(DISTINCT person_id) AS active_people FROM attribution.touch
WHERE kind = 'link_click' GROUP BY ALL;
""",
    "hot": """-- Accounts of which somebody clicked in a week.
-- @subject: person
-- @accounts: any
-- @look_back: 7
SELECT DISTINCT person_id FROM attribution.touch WHERE kind = 'link_click' AND touched_at >= {since}
""",
    "consent": """-- What the pipeline reads.
-- @subject: person
-- @trait email [string]: of nobody
SELECT person_id, 'x@y.example' AS email FROM identity.person
""",
    "gone": """-- A table that is none.
-- @subject: person
-- @trait gone [string]: nothing
SELECT person_id, 'x' AS gone FROM identity.person_of_last_year
""",
    "seats": """-- Half of them no number, some twice, one of nobody.
-- @subject: person
-- @tell: contacts
-- @trait seats [number]: how many
SELECT c.person_id, if(c.contact_id = 11, 'many', '3') AS seats
FROM (SELECT DISTINCT person_id, contact_id FROM identity.membership) c, range(2)
UNION ALL SELECT NULL, '4'
""",
}
WRONG = {
    "trait consent": "email is HubSpot's own, or the pipeline reads it",
    "trait gone": "person_of_last_year",
    "trait no_text": "is no text in UTF-8",
    "trait nowhere": "names nowhere; there are active_people",
    "trait seats": "1 rows without person_id, 2 further rows of a person_id, 1 values of seats (not_a_number)",
}
"""Trait -> what is said of it; the others are told all the same."""


def followed(at: str, identifier: str, contact: int) -> Line:
    return click(
        at, identifier, clicked_at=at, received_at=at, contact_id=str(contact), destination_url="https://v.example"
    )


def test_traits_and_audiences_are_told_by_what_changed_in_them(tmp_path: Path):
    own = tmp_path / "own"
    own.mkdir()
    for name, text in FILES.items():
        (own / f"{name}.sql").write_text(text, encoding="utf-8")
    (own / "no_text.sql").write_bytes(b"-- \xff\xfe")
    lines = [
        *PORTAL,
        join("2026-03-01T08:10:00Z", ("contacts", 11), ("companies", 31)),
        join("2026-03-01T08:10:00Z", ("contacts", 12), ("companies", 31)),
        followed("2026-03-02T08:00:00Z", "k1", 11),
        followed("2026-03-02T10:30:00Z", "k2", 11),
    ]
    with Telling.start(tmp_path / "chain", lines, "2026-03-02T10:00:00Z", TRAITS) as told:
        told.env["CRM_ATTRIBUTION_TRAITS"] = str(own)
        made = {one.name for one in provision(told.chain.mapping, told.settings(), act=True) if one.found == "made"}
        assert {"property contacts.clicks_7", "property companies.active_people", "property contacts.hot"} <= made
        told.hour(to=TO)
        wrong = told.planning.wrong
        assert {name: said for name, said in WRONG.items() if said in wrong.get(name, "")} == WRONG, wrong
        assert set(wrong) == set(WRONG)
        assert of(told, "contacts", 12, "seats") == {"seats": "3"}
        assert of(told, "contacts", 11, "clicks_7", "hot", "seats") == {"clicks_7": "1", "hot": "true", "seats": None}
        assert of(told, "contacts", 12, "clicks_7", "hot") == {"clicks_7": None, "hot": "true"}
        assert of(told, "companies", 31, "active_people", "hot") == {"active_people": "1", "hot": "true"}
        first = len(told.counted("hubspot_identify"))
        told.hour("2026-03-02T11:00:00Z", to=TO)
        last = {"last_touch_at": "2026-03-02T10:30:00Z"}
        assert {one["id"]: one["properties"] for one in told.counted("hubspot_identify")[first:]} == {
            "11": {"clicks_7": "2", **last},
            "12": last,
            "31": last,
        }
        events = {(one["eventName"], one["objectId"], one["properties"].get("audience")) for one in told.counted()}
        assert events == {("pe4242_audience_entered", contact, "hot") for contact in ("11", "12")}
        assert told.hour("2026-03-02T12:00:00Z", to=TO)["hubspot_identify"].requests == 0
        told_of = told.replay("hubspot_identify")
        assert {one.refused.get("hubspot_identify") for one in told_of} == {None}
        assert told.hour("2026-03-02T13:00:00Z", to=TO)["hubspot_identify"].requests > 0, "sent again"
        # a week later nobody is in it: the values are cleared, and leaving is an event
        told.hour("2026-03-10T12:00:00Z", to=TO)
        told.hour("2026-03-10T13:00:00Z", to=TO)
        assert of(told, "contacts", 11, "clicks_7", "hot") == {"clicks_7": None, "hot": "false"}
        assert of(told, "companies", 31, "active_people", "hot") == {"active_people": "1", "hot": "false"}
        left = [one["objectId"] for one in told.counted() if one["eventName"] == "pe4242_left"]
        assert sorted(left) == ["11", "12"]
        # a rule and an audience that come later: all who are in it are told, although the hour that finds them is over
        everyone = "-- Everybody.\n-- @subject: person\nSELECT DISTINCT person_id FROM identity.membership"
        (own / "everyone.sql").write_text(everyone, encoding="utf-8")
        late = "{on: audience_entered, event: late, condition: {events: [everyone]}}, {on: audience_entered"
        told.remap(TRAITS.replace("{on: audience_entered", late, 1).replace("traits: [", "traits: [everyone, "))
        provision(told.chain.mapping, told.settings(), act=True)
        with told.chain.warehouse.session() as session, session.transaction():
            session.state.watermark = at("2026-03-10T14:00:00Z")
        told.hour("2026-03-10T14:05:00Z", to=TO)
        assert sorted(one["objectId"] for one in told.counted() if one["eventName"] == "pe4242_late") == ["11", "12"]
