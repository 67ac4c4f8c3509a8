"""Contacts and deals are given what their newest touch says: in any order, on change only, never the first touch."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crm_attribution.delivery.provision import provision
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Answer
from crm_attribution.destinations.normal_form import same
from crm_attribution.sandbox.platforms.hubspot_properties import normal
from crm_attribution_tests.delivery.telling import Telling
from crm_attribution_tests.destinations import conformance
from crm_attribution_tests.sandbox.lines import OPENED, click, create, join
from crm_attribution_tests.sandbox_process import Line

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

MAPPING = """
write_back:
  properties:
    contacts: {last_utm_source: "{source}", last_utm_medium: "{medium}", last_utm_campaign: "{campaign}"}
    deals:
      recent_link_clicks: {text: "{clicks}", type: number}
      latest_utm_source: "{source}"
"""
NAMES = ("last_utm_source", "last_utm_medium", "last_utm_campaign")
FIRST = {"hs_analytics_source": "PAID_SEARCH", "hs_analytics_source_data_1": "first"}
PORTAL: list[Line] = [
    {"at": OPENED, "op": "account", "account": {"portalId": 4242, "timeZone": "Europe/Berlin"}},
    create("2026-03-01T08:00:00Z", "contacts", 11, email="ann@quelle.example", **FIRST),
    create("2026-03-01T08:00:00Z", "contacts", 12, email="ben@quelle.example"),
    create(
        "2026-03-01T09:00:00Z", "deals", 21, dealname="Quelle", dealstage="contacted", pipeline="selling", amount=5000
    ),
    join("2026-03-01T09:00:00Z", ("deals", 21), ("contacts", 11)),
    join("2026-03-01T09:00:00Z", ("deals", 21), ("contacts", 12)),
]
BOTH = ("hubspot_events", "hubspot_properties")


def followed(at: str, identifier: str, contact: int, received: str | None = None, **utm: str) -> Line:
    fields = {f"utm_{name}": value for name, value in utm.items()}
    seen = received or at
    return click(seen, identifier, clicked_at=at, received_at=seen, contact_id=str(contact),
                 destination_url="https://v.example", **fields)  # fmt: skip


def of(told: Telling, kind: str, identifier: int, *names: str) -> dict[str, str | None]:
    """What HubSpot has of some properties of a record."""
    asked = ",".join(names)
    _, record = told.chain.sandbox.hubspot("GET", f"/crm/objects/2026-03/{kind}/{identifier}?properties={asked}")
    return {name: record["properties"].get(name) for name in names}


def provided(told: Telling) -> None:
    """Have the properties of the mapping."""
    found = provision(told.chain.mapping, told.settings(), act=True)
    assert {one.state for one in found} == {"ok"}, found


def test_two_clicks_in_two_days(tmp_path: Path):
    lines = [
        *PORTAL,
        followed("2026-03-02T10:10:00Z", "k1", 11, source="google", medium="cpc", campaign="spring"),
        followed("2026-03-03T11:20:00Z", "k2", 11, source="linkedin", medium="paid", campaign="summer"),
    ]
    with Telling.start(tmp_path, lines, "2026-03-02T10:00:00Z", MAPPING) as told:
        provided(told)
        told.hour(to=BOTH)
        told.hour("2026-03-02T11:00:00Z", to=BOTH)
        assert of(told, "contacts", 11, *NAMES) == dict(zip(NAMES, ("google", "cpc", "spring"), strict=True))
        assert of(told, "deals", 21, "recent_link_clicks") == {"recent_link_clicks": "1"}
        told.hour("2026-03-03T12:00:00Z", to=BOTH)
        assert of(told, "contacts", 11, *NAMES) == dict(zip(NAMES, ("linkedin", "paid", "summer"), strict=True))
        deal = {"recent_link_clicks": "2", "latest_utm_source": "linkedin"}
        assert of(told, "deals", 21, *deal) == deal
        assert of(told, "contacts", 11, *FIRST) == FIRST
        assert len(told.counted()) == 2
        # what was written is read back as a change of the contact, and is no touch and no reason to write again
        for clock in ("2026-03-03T13:00:00Z", "2026-03-03T14:00:00Z"):
            reports = told.hour(clock, to=BOTH)
            assert {report.requests for report in reports.values()} == {0}
        with told.chain.warehouse.session() as session:
            kinds = session.query("SELECT kind FROM attribution.touch ORDER BY kind")["kind"].to_list()
    assert kinds == ["link_click", "link_click", "original_source"]


def test_an_older_click_that_comes_late_changes_only_the_count(tmp_path: Path):
    lines = [
        *PORTAL,
        followed("2026-03-02T10:10:00Z", "new", 11, source="linkedin", medium="paid", campaign="summer"),
        followed(
            "2026-03-02T08:00:00Z", "late", 11, "2026-03-02T11:30:00Z", source="google", medium="cpc", campaign="x"
        ),
        followed("2026-03-02T12:40:00Z", "same", 12, source="linkedin", medium="paid", campaign="summer"),
    ]
    with Telling.start(tmp_path, lines, "2026-03-02T11:00:00Z", MAPPING) as told:
        provided(told)
        told.hour(to=["hubspot_properties"])
        newer = dict(zip(NAMES, ("linkedin", "paid", "summer"), strict=True))
        assert of(told, "contacts", 11, *NAMES) == newer
        report = told.hour("2026-03-02T12:00:00Z", to=["hubspot_properties"])["hubspot_properties"]
        assert of(told, "contacts", 11, *NAMES) == newer
        assert of(told, "deals", 21, "recent_link_clicks") == {"recent_link_clicks": "2"}
        assert report.reasons == {"suppressed: unchanged": 1}  # of the contact
        told.hour("2026-03-02T13:00:00Z", to=["hubspot_properties"])
        assert of(told, "deals", 21, "recent_link_clicks") == {"recent_link_clicks": "3"}
        written = [one for one in told.counted("hubspot_properties") if one["object"] == "contacts"]
    assert [(one["id"], sorted(one["properties"])) for one in written] == [("11", sorted(NAMES)), ("12", sorted(NAMES))]


@pytest.mark.parametrize("seed", range(2))
def test_in_any_order_of_arrival_the_newest_holds(tmp_path: Path, seed: int):
    rng = random.Random(seed)
    arrivals = [f"2026-03-02T{hour:02d}:30:00Z" for hour in range(12, 18)]
    order = rng.sample(range(6), 6)
    clicks = [
        followed(f"2026-03-02T0{n}:00:00Z", f"k{n}", 11, arrivals[place], source=f"s{n}", medium="m", campaign="c")
        for place, n in enumerate(order)
    ]
    with Telling.start(tmp_path, [*PORTAL, *clicks], "2026-03-02T12:00:00Z", MAPPING) as told:
        provided(told)
        newest = -1
        for place, n in enumerate(order):
            if rng.random() < 0.3:  # an hour that is not run
                newest = max(newest, n)
                continue
            newest = max(newest, n)
            route = "POST /crm/objects/2026-03/*/batch/update"
            kind = rng.choice(["drop_after_accept", "500", "429_no_retry_after", ""])
            told.chain.sandbox.faults([{"route": route, "kind": kind, "count": 1}] if kind else [])
            told.hour(f"2026-03-02T{13 + place}:00:00Z", to=["hubspot_properties"])
        told.chain.sandbox.faults([])
        for clock in ("2026-03-02T19:00:00Z", "2026-03-03T09:00:00Z"):
            told.hour(clock, to=["hubspot_properties"])
        assert of(told, "contacts", 11, "last_utm_source") == {"last_utm_source": "s5"}
        assert of(told, "deals", 21, "recent_link_clicks") == {"recent_link_clicks": "6"}
        sources = [one["properties"].get("last_utm_source") for one in told.counted("hubspot_properties")
                   if one["object"] == "contacts"]  # fmt: skip
        assert sources == sorted(sources)
        assert told.deliver("hubspot_properties").requests == 0


def test_a_property_of_another_type_is_named_and_options_are_added(tmp_path: Path):
    mapping = """
write_back:
  events: {rules: []}
  properties:
    contacts: {last_kind: {text: "{kind}", type: enumeration, options: [link_click, offline_touch]}, score: "{clicks}"}
"""
    with Telling.start(tmp_path, PORTAL, "2026-03-02T10:00:00Z", mapping) as told:
        options = [{"value": "link_click", "label": "Link"}]
        add = [{"name": "last_kind", "type": "enumeration", "options": options}, {"name": "score", "type": "number"}]
        told.chain.sandbox.set_properties("contacts", add=add)
        found = {one.name: (one.state, one.found) for one in provision(told.chain.mapping, told.settings(), act=True)}
    assert found == {
        "group crm_attribution of contacts": ("ok", "made"),
        "options of property contacts.last_kind": ("ok", "made"),
        "property contacts.score": ("failed", "it is there with the type number, not string"),
    }


# --- what HubSpot drops and what it reformats

VALUES = st.one_of(
    st.sampled_from(["0171 234 5678", "+49 (171) 2345678", "HTTPS://www.Firm.example/", "firm.example", "spring", ""]),
    st.from_regex(r"\+?[0-9][0-9 ()/-]{7,14}[0-9]", fullmatch=True),
    st.from_regex(r"(https?://)?(www\.)?[A-Za-z]{2,8}\.[a-z]{2,3}/?", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20),
)


@given(
    values=st.dictionaries(st.sampled_from(["phone_of_click", "domain_of_click", "last_utm_source"]), VALUES),
    old=VALUES,
)
def test_every_dropped_write_is_told_and_no_reformatted_one(values: dict[str, str], old: str):
    """The emulator's reformatting, and a value that stays the old one, seen through the answer."""
    destination = destinations()["hubspot_properties"]
    wanted = {name: text for name, text in values.items() if text.strip()}
    row = conformance.ready(destination, details={"hs_object_id": "11", **wanted})
    stored = {name: normal(name, text) for name, text in wanted.items()}
    assume(all(text.strip() for text in stored.values()))

    def verdict(properties: dict[str, Any]) -> tuple[str, str | None]:
        (outcome,) = destination.read(Answer(200, {}, {"results": [{"id": "11", "properties": properties}]}), [row])
        return outcome.verdict, outcome.code

    assert verdict(stored) == ("accepted", None)
    for name in wanted:
        if not same(wanted[name], old):
            assert verdict({**stored, name: old or None}) == ("rejected", f"dropped: {name}")


def test_the_sandbox_drops_first_touch_and_reformats(tmp_path: Path):
    with Telling.start(tmp_path, PORTAL, "2026-03-02T10:00:00Z") as told:
        told.chain.sandbox.set_properties("contacts", add=[{"name": "phone_of_click", "type": "string"}])
        properties = {"hs_analytics_source": "DIRECT_TRAFFIC", "phone_of_click": "0171 / 234-5678"}
        body = {"inputs": [{"id": "11", "properties": properties}]}
        status, answer = told.chain.sandbox.hubspot("POST", "/crm/objects/2026-03/contacts/batch/update", body)
        assert status == 200
        destination = destinations()["hubspot_properties"]
        row = conformance.ready(destination, details={"hs_object_id": "11", **properties})
        (outcome,) = destination.read(Answer(200, {}, answer), [row])
        assert of(told, "contacts", 11, "phone_of_click") == {"phone_of_click": "+491712345678"}
    assert (outcome.verdict, outcome.code) == ("rejected", "dropped: hs_analytics_source")
