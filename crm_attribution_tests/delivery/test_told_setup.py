"""What HubSpot needs before it is told anything: provision makes it, preflight and delivery name what lacks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hubspot import HubSpot
from hubspot.crm.companies.exceptions import ApiException
from hubspot.crm.contacts import BatchInputSimplePublicObjectBatchInputUpsert as Upserts
from hubspot.crm.contacts import SimplePublicObjectBatchInputUpsert as Upsert
from hubspot.events.send import BatchedBehavioralEventHttpCompletionRequest as Batch
from hubspot.events.send import BehavioralEventHttpCompletionRequest as Event
from hubspot_sdk import HubSpot as Sdk

from crm_attribution import configuration, mapping
from crm_attribution.clock import FixedClock
from crm_attribution.delivery.provision import provision
from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError
from crm_attribution.findings import Finding
from crm_attribution.preflight import platforms
from crm_attribution_tests.delivery.telling import Telling
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import NOW, click, create
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

RULES = """
write_back:
  events:
    contact_by: matching_id
    matching: {event_property: crm_id, contact_property: customer_no}
    rules:
      - {on: link_click, event: pricing_looked_at, properties: {text: "{link_title}"}}
"""
ON = {"CRM_ATTRIBUTION_WRITE_BACK": "on"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start([], NOW) as running:
        yield running


def rules(folder: Path, text: str) -> mapping.Rules:
    file = folder / "mapping.yaml"
    file.write_text(text, encoding="utf-8")
    return mapping.load(file)


def told(found: list[Finding]) -> dict[str, tuple[str, str]]:
    return {one.name: (one.state, one.found) for one in found}


def test_what_is_missing_is_made_once_and_what_is_otherwise_is_named(sandbox: Sandbox, tmp_path: Path):
    mine, given = rules(tmp_path, RULES), configuration.load({**sandbox.env, **ON})
    (dry,) = provision(mine, given, act=False)
    assert (dry.name, dry.state) == ("event pricing_looked_at", "warning")
    assert told(provision(mine, given, act=True)) == {"event pricing_looked_at": ("ok", "made")}
    assert told(provision(mine, given, act=True)) == {"event pricing_looked_at": ("ok", "it is there")}
    more = rules(tmp_path, RULES.replace("{text:", '{reason: "{kind}", text:'))
    made = told(provision(more, given, act=True))
    assert made == {"property reason of event pricing_looked_at": ("ok", "made")}
    _, listed = sandbox.hubspot("GET", "/events/2026-03/event-definitions?includeProperties=true")
    (definition,) = [one for one in listed["results"] if one["name"] == "pricing_looked_at"]
    names = {one["name"] for one in definition["properties"]}
    assert {"crm_id", "text", "reason", "link_title", "hs_utm_source"} <= names
    # a property of another type, and an event that was made without the matching id
    number = {"name": "amount_of_it", "label": "x", "type": "number"}
    sandbox.hubspot("POST", "/events/2026-03/event-definitions/pe1000001_tracked_link_clicked/property", number)
    wrong = rules(tmp_path, "write_back: {events: {properties: {amount_of_it: '{kind}'}}}\n")
    (finding,) = provision(wrong, given, act=True)
    assert (finding.state, finding.found) == ("failed", "it has properties that are no text: amount_of_it (number)")
    other = rules(tmp_path, RULES.replace("pricing_looked_at", "tracked_link_clicked"))
    (finding,) = provision(other, given, act=True)
    assert "without the custom matching id" in finding.found
    with pytest.raises(ConfigurationError, match="CRM_ATTRIBUTION_WRITE_BACK is off"):
        provision(mine, configuration.load(sandbox.env), act=True)


def test_preflight_names_the_scope_and_the_event_that_lack(sandbox: Sandbox, tmp_path: Path):
    given, clock = configuration.load({**sandbox.env, **ON}), FixedClock(at(NOW))
    destination = destinations()["hubspot_events"]

    def wrong(mine: mapping.Rules) -> set[str]:
        return {one.name for one in platforms.look(destination, mine, given, clock) if one.state != "ok"}

    assert wrong(mapping.load()) == set()
    unknown = rules(tmp_path, "write_back: {events: {rules: [{on: link_click, event: no_such_event}]}}\n")
    assert wrong(unknown) == {"hubspot_events: event no_such_event"}
    sandbox.set_oauth(without=["analytics.behavioral_events.send"])
    assert wrong(mapping.load()) == {"hubspot_events: scope analytics.behavioral_events.send"}
    sandbox.set_oauth(without=[])
    nobody = configuration.load({**sandbox.env, **ON, "HUBSPOT_WRITE_TOKEN": "nobody-knows-it"})
    found = platforms.look(destination, mapping.load(), nobody, clock)
    assert "renew it and set HUBSPOT_WRITE_TOKEN" in {one.fix for one in found if one.state == "failed"}
    sandbox.set_up("hubspot_notes", missing=["crm_attribution_key"])
    notes = rules(tmp_path, "write_back: {events: {told_as: note}}\n")
    found = platforms.look(destinations()["hubspot_notes"], notes, given, clock)
    assert {one.name for one in found if one.state != "ok"} == {"hubspot_notes: property crm_attribution_key"}
    assert told(provision(notes, given, act=True)) == {"property crm_attribution_key of notes": ("ok", "made")}
    found = platforms.look(destinations()["hubspot_notes"], notes, given, clock)
    assert {one.name for one in found if one.state != "ok"} == set()
    companies = rules(tmp_path, "write_back: {identify: {tell: [companies], create: [companies]}}\n")
    look = partial(platforms.look, destinations()["hubspot_identify"], companies, given, clock)
    assert {one.name for one in look() if one.state != "ok"} == {"hubspot_identify: property crm_attribution_domain"}
    provision(companies, given, act=True)
    assert {one.name for one in look() if one.state != "ok"} == set()


def test_the_official_clients_send_events(sandbox: Sandbox):
    """What they send, the emulator takes: its paths and shapes are HubSpot's."""
    address, token = sandbox.env["HUBSPOT_BASE_URL"], sandbox.env["HUBSPOT_WRITE_TOKEN"]
    before = len(sandbox.received("hubspot_events")["counted"])
    name = "pe1000001_tracked_link_clicked"
    python: Any = HubSpot(access_token=token, host=address, base_url=address)
    event = Event(event_name=name, object_id="11", properties={"link_title": "x"}, uuid="u-python")
    python.events.send.basic_api.send(event)
    python.events.send.batch_api.send(Batch(inputs=[event]))
    sdk = Sdk(access_token=token, base_url=address)
    more: Any = {"email": "ann@quelle.example", "properties": {"link_title": "y"}}
    sdk.events.send.send(event_name=name, uuid="u-sdk", **more)
    made = sdk.events.definitions.create(
        label="By the SDK", name="by_the_sdk", include_default_properties=True, primary_object="CONTACT",
        property_definitions=[{"name": "text", "label": "Text", "type": "string"}],
    )  # fmt: skip
    assert made.fully_qualified_name == "pe1000001_by_the_sdk"
    counted = sandbox.received("hubspot_events")["counted"][before:]
    assert [event["uuid"] for event in counted] == ["u-python", "u-sdk"]


def test_the_official_clients_upsert_and_associate(sandbox: Sandbox):
    address, token = sandbox.env["HUBSPOT_BASE_URL"], sandbox.env["HUBSPOT_WRITE_TOKEN"]
    python: Any = HubSpot(access_token=token, host=address, base_url=address)
    given = Upsert(id="Upserted@firm.example", id_property="email", properties={"firstname": "Ann"})
    (made,) = python.crm.contacts.batch_api.upsert(Upserts(inputs=[given])).results
    sdk = Sdk(access_token=token, base_url=address)
    again: Any = {"id": "upserted@firm.example", "idProperty": "email", "properties": {"firstname": "Anna"}}
    (found,) = sdk.crm.objects.contacts.batch.upsert(inputs=[again]).results
    assert (made.new, found.new, found.id, found.properties["firstname"]) == (True, False, made.id, "Anna")
    sandbox.log([create("2026-03-10T00:00:00Z", "companies", 771, name="Firm", domain="firm.example")])
    pair: Any = {
        "from": {"id": made.id},
        "to": {"id": "771"},
        "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}],
    }
    answer = sdk.crm.associations.batch.create("companies", from_object_type="contacts", inputs=[pair])
    assert [str(one.to_object_id) for one in answer.results] == ["771"]
    wrong = Upsert(id="771", id_property="hs_object_id", properties={"name": "x"})
    with pytest.raises(ApiException, match="non-unique"):
        python.crm.companies.batch_api.upsert(Upserts(inputs=[wrong]))


def test_below_enterprise_a_click_is_a_note_and_one_only(tmp_path: Path):
    people = [create("2026-03-01T08:00:00Z", "contacts", 11, email="ann@quelle.example")]
    link = {"destination_url": "https://v.example", "link_title": "A <b> & more", "short_url": "https://l.example/d"}
    when = "2026-03-02T10:10:00Z"
    lines = [*people, click(when, "k1", clicked_at=when, contact_id="11", **link)]
    note = 'write_back: {events: {told_as: note, note: "Clicked {link_title} ({short_url})"}}\n'
    with Telling.start(tmp_path, lines, "2026-03-02T11:00:00Z", note) as telling:
        route = "POST /crm/objects/2026-03/notes/batch/create"
        telling.chain.sandbox.faults([{"route": route, "kind": "drop_after_accept", "count": 1}])
        report = telling.hour(to=["hubspot_notes"])["hubspot_notes"]
        assert (report.counts, report.stuck) == ({"retry": 1}, 0)
        telling.chain.sandbox.faults([{"route": route, "kind": "500", "count": 1}])
        telling.chain.sandbox.set_clock("2026-03-02T11:30:00Z")
        assert telling.deliver("hubspot_notes").stuck == 1, "a click of more than an hour ago is not in HubSpot"
        report = telling.hour("2026-03-02T12:00:00Z", to=["hubspot_notes"])["hubspot_notes"]
        assert (report.counts, report.reasons, report.stuck) == ({"accepted": 1}, {}, 0)
        (counted,) = telling.counted("hubspot_notes")
        assert telling.deliver("hubspot_events").requests == 0
    assert counted["properties"]["hs_note_body"] == "Clicked A &lt;b&gt; &amp; more (https://l.example/d)"
    assert counted["properties"]["hs_timestamp"] == when
    assert counted["associations"][0]["to"] == {"id": "11"}
