"""Link clicks become custom events of HubSpot: once each, by the mapping's rules, whole hours of the real steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crm_attribution.clock import FixedClock
from crm_attribution.conversions import plan
from crm_attribution.conversions.recipients import resolver
from crm_attribution.delivery.preview import preview
from crm_attribution.delivery.replay import Wish, queue
from crm_attribution.destinations import destinations
from crm_attribution.destinations.accounts import OWN, accounts
from crm_attribution_tests.delivery.telling import Telling
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import OPENED, click, create, merge
from crm_attribution_tests.sandbox_process import Line

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

ACCOUNT: Line = {"at": OPENED, "op": "account", "account": {"portalId": 4242, "timeZone": "Europe/Berlin"}}
PEOPLE: list[Line] = [
    ACCOUNT,
    create(
        "2026-03-01T08:00:00Z", "contacts", 11, email="ann@quelle.example", ad_consent="granted", customer_no="K-11"
    ),
    create("2026-03-01T08:00:00Z", "contacts", 12, email="ben@ufer.example"),
    create("2026-03-01T08:00:00Z", "contacts", 13, email=""),
]


def followed(at: str, identifier: str, contact: int | None, **more: Any) -> Line:
    """A click on a tracked link."""
    fields = {"destination_url": "https://v.example/demo?utm_source=News&utm_campaign=Spring", "link_title": "The demo",
              "short_url": "https://l.example/d", "link_tags": ["spring"], **more}  # fmt: skip
    return click(at, identifier, clicked_at=at, contact_id=None if contact is None else str(contact), **fields)


def test_two_clicks_become_two_events_with_what_the_link_says(tmp_path: Path):
    lines = [
        *PEOPLE,
        followed("2026-03-02T10:10:00Z", "k1", 11),
        followed("2026-03-03T11:20:00Z", "k2", 11, utm_source="linkedin", link_title="T" * 2000),
        followed("2026-03-03T11:30:00Z", "k3", 13, utm_source="x" * 300),
        followed("2026-03-03T11:40:00Z", "bot", 11, method="HEAD"),
    ]
    with Telling.start(tmp_path, lines, "2026-03-02T10:00:00Z") as told:
        assert told.hour()["hubspot_events"].requests == 0
        assert told.hour("2026-03-02T11:00:00Z")["hubspot_events"].counts == {"accepted": 1}
        report = told.hour("2026-03-03T12:00:00Z")["hubspot_events"]
        assert (report.requests, report.counts) == (1, {"accepted": 2})
        again = told.hour("2026-03-03T13:00:00Z")["hubspot_events"]
        assert (again.requests, told.chain.sandbox.received("hubspot_events")["requests"]) == (0, 2)
        first, second, third = told.counted()
        with told.chain.ledger.reading() as book:
            keys = set(book.read("conversions.conversion")["conversion_id"])
    assert {first["uuid"], second["uuid"], third["uuid"]} == keys
    assert {name: first[name] for name in ("eventName", "objectId", "occurredAt")} == {
        "eventName": "pe4242_tracked_link_clicked",
        "objectId": "11",
        "occurredAt": "2026-03-02T10:10:00Z",
    }
    assert first["properties"] == {
        "hs_utm_source": "news",
        "hs_utm_campaign": "spring",
        "hs_link_href": "https://v.example/demo?utm_source=News&utm_campaign=Spring",
        "link_title": "The demo",
        "link_short_url": "https://l.example/d",
        "link_slug": "demo",
        "link_tags": "spring",
        "channel": "Other",
    }
    assert second["properties"]["hs_utm_source"] == "linkedin"
    assert len(second["properties"]["link_title"]) == 1024
    assert (third["objectId"], len(third["properties"]["hs_utm_source"])) == ("13", 256)


RULED = """
write_back:
  events:
    rules:
      - {on: link_click, condition: {tags: [internal*]}, skip: true}
      - {on: link_click, condition: {links: [price*], sources: [News]}, event: price_looked_at, consent: granted,
         properties: {text: "{link_title} by {source}", channel: null}}
      - {on: "*"}
"""


def test_the_first_rule_that_holds_names_the_event(tmp_path: Path):
    define = {"label": "x", "primaryObject": "CONTACT", "includeDefaultProperties": True}
    names = ("link_title", "link_short_url", "link_slug", "link_tags", "channel", "text")
    define["propertyDefinitions"] = [{"name": name, "label": name, "type": "string"} for name in names]
    when = "2026-03-02T10:10:00Z"
    lines = [
        *PEOPLE,
        followed(when, "skipped", 11, link_tags=["a", "Internal-test"]),
        followed("2026-03-02T10:20:00Z", "price", 11, link_slug="PRICE-2026"),
        followed("2026-03-02T10:30:00Z", "unasked", 12, link_slug="prices"),
        followed("2026-03-02T10:40:00Z", "other", 11, link_slug="prices", utm_source="meta"),
    ]
    with Telling.start(tmp_path, lines, "2026-03-02T10:00:00Z", RULED) as told:
        for name in ("price_looked_at", "link_click"):
            body = {**define, "name": name}
            assert told.chain.sandbox.hubspot("POST", "/events/2026-03/event-definitions", body)[0] == 201
        told.hour()
        told.hour("2026-03-02T11:00:00Z")
        assert told.rows() == {
            "click:skipped": ("suppressed", "skipped_by_rule"),
            "click:price": ("accepted", None),
            "click:unasked": ("held", "consent_unknown"),
            "click:other": ("accepted", None),
        }
        price, other = told.counted()
        # another mapping tells nothing twice
        told.remap("write_back: {events: {rules: [{on: link_click, event: renamed}]}}\n")
        assert told.hour("2026-03-02T12:00:00Z")["hubspot_events"].requests == 0
    assert price["eventName"] == "pe4242_price_looked_at"
    assert price["properties"]["text"] == "The demo by news"
    assert "channel" not in price["properties"]
    assert other["eventName"] == "pe4242_link_click"


def test_history_is_not_told_and_a_merge_or_replay_tells_nothing_twice(tmp_path: Path):
    lines = [
        *PEOPLE,
        followed("2026-02-20T10:10:00Z", "old", 11),
        followed("2026-03-02T10:10:00Z", "new", 12),
        merge("2026-03-02T13:10:00Z", "contacts", 11, 12, 15),
    ]
    lines = sorted(lines, key=lambda line: str(line["at"]))
    with Telling.start(tmp_path, lines, "2026-03-02T11:00:00Z") as told:
        told.env["CRM_ATTRIBUTION_START"] = "2026-03-01T00:00:00Z"
        told.hour()
        expected = {"click:old": ("suppressed", "before_activation"), "click:new": ("accepted", None)}
        assert told.rows() == expected
        assert told.hour("2026-03-02T14:00:00Z")["hubspot_events"].requests == 0
        with told.chain.warehouse.session() as session:
            wish = Wish(["click:new", "click:no"], ["hubspot_events"], "asked to", "command")
            known, unknown = queue(session, told.chain.ledger, wish, at("2026-03-02T14:00:00Z"))
        assert (known.ok, known.deduplicated) == (True, True)
        assert known.canonical_event is not None
        assert known.canonical_event["milestone"] == "link_click"
        assert unknown.refused == {"hubspot_events": "no such event, milestone, touch or conversion"}
        assert told.deliver("hubspot_events").counts == {"accepted": 1}
        assert told.rows() == expected
        inbox = told.chain.sandbox.received("hubspot_events")
        assert (len(inbox["received"]), len(inbox["counted"])) == (2, 1)
        assert [event["objectId"] for event in inbox["received"]] == ["12", "12"]


def test_the_address_or_the_matching_id_names_the_contact_and_preview_masks_it(tmp_path: Path):
    lines = [*PEOPLE, *(followed(f"2026-03-02T10:1{n}:00Z", f"k{n}", 11 + n) for n in range(3))]
    by_email = "write_back: {events: {contact_by: email}}\n"
    with Telling.start(tmp_path, lines, "2026-03-02T11:00:00Z", by_email) as told:
        told.chain.run()
        given = told.settings()
        destination = destinations()["hubspot_events"]
        with told.chain.warehouse.session() as session:
            plan.update(session, told.chain.ledger, told.chain.mapping, given, at("2026-03-02T11:00:00Z"))
            shown = preview(
                accounts(destination, [OWN], given)[0], settings=given, rules=told.chain.mapping, session=session,
                ledger=told.chain.ledger, clock=FixedClock(at("2026-03-02T11:00:00Z")),
                until=at("2026-03-02T11:00:00Z"),
                resolve=resolver(destination, told.chain.mapping),
            )  # fmt: skip
        (request,) = shown.requests
        assert "quelle.example" not in str(request.shown)
        told.deliver("hubspot_events")
        ids = [{key: event.get(key) for key in ("email", "objectId") if key in event} for event in told.counted()]
    assert ids == [{"email": "ann@quelle.example"}, {"email": "ben@ufer.example"}, {"objectId": "13"}]


def test_off_or_without_the_scope_nothing_is_told_and_what_lacks_is_named(tmp_path: Path):
    lines = [*PEOPLE, followed("2026-03-02T10:10:00Z", "k1", 11)]
    with Telling.start(tmp_path, lines, "2026-03-02T11:00:00Z") as told:
        told.env["CRM_ATTRIBUTION_WRITE_BACK"] = "off"
        report = told.hour()["hubspot_events"]
        assert report.skipped == "writing back to HubSpot is switched off (CRM_ATTRIBUTION_WRITE_BACK)"
        assert not told.chain.ledger.exists()
        told.env.clear()
        told.chain.sandbox.set_oauth(without=["analytics.behavioral_events.send"])
        report = told.hour()["hubspot_events"]
        assert report.alert == (
            "check HUBSPOT_WRITE_TOKEN and its permissions (missing scope analytics.behavioral_events.send)"
        )
        told.chain.sandbox.set_oauth(without=[])
        told.chain.sandbox.set_up("hubspot_events", missing=["tracked_link_clicked"])
        assert "event_is_not_defined" in str(told.hour()["hubspot_events"].alert)
        told.chain.sandbox.set_up("hubspot_events", missing=[])
        assert told.hour()["hubspot_events"].counts == {"accepted": 1}


def test_batches_are_those_of_the_mapping_and_a_partly_filled_one_goes_too(tmp_path: Path):
    lines = [*PEOPLE, *(followed(f"2026-03-02T10:{n:02d}:00Z", f"k{n}", 11) for n in range(0, 56, 5))]
    with Telling.start(tmp_path, lines, "2026-03-02T11:00:00Z", "write_back: {events: {batch: 5}}\n") as told:
        report = told.hour()["hubspot_events"]
    assert (report.requests, report.counts) == (3, {"accepted": 12})
