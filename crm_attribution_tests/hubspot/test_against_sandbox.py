"""The client against the sandbox, over HTTP, with calls counted by the other side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crm_attribution.clock import iso, parse_instant
from crm_attribution.errors import Forbidden, QuotaExhausted, Rejected, Unauthorized
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.limits import hubspot_budgets
from crm_attribution.hubspot.search import Changed, ChangeFeed
from crm_attribution.sources.link_clicks import SOURCE
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

START = datetime(2026, 4, 1, tzinfo=UTC)
NOW = START + timedelta(hours=6)
BULK = START + timedelta(hours=1, milliseconds=123)
FORM = "b6336282-50ec-465e-894e-e368146fa25f"
SEARCH = "POST /crm/objects/contacts/search"
BATCH = "POST /crm/objects/contacts/batch/read"
Line = dict[str, Any]
Client = Callable[..., HubSpotClient]


def create(at: datetime, kind: str, number: int, **properties: str) -> Line:
    return {"at": iso(at), "op": "create", "object": kind, "id": str(number), "source": "FORM",
            "properties": properties}  # fmt: skip


def update(at: datetime, kind: str, number: int, **properties: str) -> Line:
    return create(at, kind, number, **properties) | {"op": "update"}


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def portal() -> list[Line]:
    """3,000 contacts stamped by one bulk change; deals with 0 and 700 contacts; both kinds of merges; 130 forms."""
    lines = [create(START, "contacts", n, email=f"c{n}@acme.test", lifecyclestage="lead") for n in range(1001, 4001)]
    lines += [update(BULK, "contacts", n, lifecyclestage="customer") for n in range(1001, 4001)]
    lines += [create(minute(90), "deals", n, dealname=f"d{n}", dealstage="appointmentscheduled") for n in (51, 52, 53)]
    ends = [(51, n) for n in range(1001, 1701)] + [(53, 1001)]
    lines += [
        {"at": iso(minute(95)), "op": "associate", "from": ["deals", str(deal)], "to": ["contacts", str(contact)]}
        for deal, contact in ends
    ]
    merge: Line = {"at": iso(minute(100)), "op": "merge", "object": "contacts"}
    lines.append(merge | {"primary": "3001", "merged": "3002", "into": "9001"})
    lines.append(merge | {"primary": "3003", "merged": "3004"})
    lines.append({"at": iso(minute(101)), "op": "archive", "object": "contacts", "id": "3005"})
    lines += [
        {"at": iso(minute(110 + n)), "op": "submit", "submission": {"form_id": FORM, "email": "c1001@acme.test"}}
        for n in range(130)
    ]
    clicks = [{"click_id": f"k{n}", "link_slug": "demo"} for n in range(1_200)]
    lines += [{"at": iso(minute(245)), "op": "click", "click": one} for one in clicks]
    event = {"id": "e1", "recipient": "c1001@acme.test", "email_campaign_id": 5, "url": "https://v.example"}
    lines.append({"at": iso(minute(250)), "op": "email_click", "event": event})
    return lines


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start(portal(), iso(NOW)) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    made: list[Transport] = []

    def make(on: Sandbox = sandbox, token: str | None = None, version: str = "2026-09", **settings: Any):
        bearer = {"Authorization": f"Bearer {token or on.env['HUBSPOT_ACCESS_TOKEN']}"}
        url = on.env["HUBSPOT_BASE_URL"]
        made.append(Transport(url, service="hubspot", headers=bearer, **({"sleep": lambda _: None} | settings)))
        return HubSpotClient(made[-1], version=version)

    sandbox.reset_calls()
    yield make
    for transport in made:
        transport.close()


def everything(changes: ChangeFeed) -> list[Changed]:
    return [*changes.newest, *(change for page in changes.older() for change in page)]


def test_idle_is_one_call(sandbox, client):
    changes = client().changed("contacts", NOW - timedelta(minutes=10), NOW)
    assert (changes.newest, list(changes.older()), changes.total, changes.live) == ([], [], 0, 2_997)
    assert sandbox.calls() == {"total": 1, "routes": {SEARCH: 1}}


def test_three_thousand_changes_of_one_millisecond_cost_the_floor(sandbox, client):
    hubspot = client()
    changes = hubspot.changed("contacts", BULK - timedelta(minutes=10), BULK + timedelta(minutes=10))
    # Not the merged-away, the merged and the archived ones.
    assert changes.total == 2_995
    found = everything(changes)
    assert {change.modified for change in found} == {BULK}
    ids = [change.id for change in found]
    assert len(ids) == len(set(ids)) == changes.total
    read = hubspot.batch_read("contacts", ids, ["email"], ["lifecyclestage"])
    assert [len(read.records), read.missing, read.aliases] == [changes.total, [], {}]
    history = read.records[0]["propertiesWithHistory"]["lifecyclestage"]
    assert [entry["value"] for entry in history] == ["customer", "lead"]
    assert sandbox.calls()["routes"] == {SEARCH: math.ceil(2_995 / 200) + 1, BATCH: math.ceil(2_995 / 50)}
    assert hubspot.transport.calls == sandbox.calls()["total"]


@pytest.mark.parametrize("version", ["2026-09", "2026-03", "v3"])
def test_every_version_answers_alike(client, version):
    hubspot = client(version=version)
    assert hubspot.count("contacts") == 2_997
    assert hubspot.count("contacts", BULK, BULK + timedelta(milliseconds=1)) == 2_995
    assert {c.id for c in hubspot.changed("deals", None, NOW).newest} >= {"51"}
    assert hubspot.batch_read("contacts", ["1001"], ["email"]).records[0]["properties"]["email"] == "c1001@acme.test"
    assert hubspot.associations("deals", "contacts", ["53"])["53"][0]["toObjectId"] == "1001"
    assert {p["id"] for p in hubspot.pipelines("deals")} >= {"default"}
    assert {p["name"]: p["type"] for p in hubspot.properties("contacts")}["email"] == "string"
    assert isinstance(hubspot.owners(), list)


def test_account_and_forms(client):
    hubspot = client()
    assert {"portalId", "timeZone", "companyCurrency"} <= hubspot.account_details().keys()
    assert [form["id"] for form in hubspot.forms()] == [FORM]


def test_records_that_change_while_we_page_are_in_this_window_or_the_next(client):
    lines = [create(START, "contacts", n, email=f"c{n}@acme.test") for n in range(1, 1_001)]
    with Sandbox.start(lines, iso(minute(10))) as other:
        hubspot = client(other)
        until = minute(10)
        pages = hubspot.changed("contacts", None, until)
        found = [change.id for change in pages.newest]
        changed = [*range(150, 260), 999]
        other.log([update(minute(11), "contacts", n, lifecyclestage="lead") for n in changed])
        other.set_clock(iso(minute(12)))
        found += [change.id for page in pages.older() for change in page]
        later = [change.id for change in everything(hubspot.changed("contacts", until, minute(12)))]
    assert len(found) == len(set(found))
    assert {int(i) for i in found} == set(range(1, 1_001)) - set(changed)
    assert {int(i) for i in later} == set(changed)


def test_ids_of_merged_records_answer_under_the_survivor(client):
    result = client().batch_read("contacts", ["3001", "3002", "3003", "3004", "3005", "777", "1001"], ["email"])
    assert sorted(record["id"] for record in result.records) == ["1001", "3003", "9001"]
    assert result.aliases == {"3001": "9001", "3002": "9001", "3004": "3003"}
    assert sorted(result.missing) == ["3005", "777"]


def test_the_first_load_lists_with_history(sandbox, client):
    hubspot = client()
    pages = list(hubspot.list_all("contacts", ["email"], ["lifecyclestage"]))
    assert {len(page.records) for page in pages[:-1]} == {50}
    ids = [record["id"] for page in pages for record in page.records]
    assert len(ids) == len(set(ids)) == 2_997
    assert sandbox.calls()["total"] == math.ceil(2_997 / 50)
    archived = [record["id"] for page in hubspot.list_all("contacts", [], archived=True) for record in page.records]
    assert archived == ["3005"]


def test_a_first_load_with_very_many_properties(sandbox, client):
    names = ["email", *(f"a_property_with_a_long_name_{n}" for n in range(300))]
    pages = client().list_all("contacts", names, ["lifecyclestage"])
    first = [next(pages) for _ in range(2)]
    assert [len(page.records) for page in first] == [100] * 2
    assert first[0].records[0]["properties"]["email"] == "c1001@acme.test"
    assert sandbox.calls()["routes"] == {"GET /crm/objects/contacts": 2, BATCH: 4}


def test_associations_of_none_one_and_seven_hundred(sandbox, client):
    found = client().associations("deals", "contacts", ["51", "52", "53", "404"])
    assert {deal: len(ends) for deal, ends in found.items()} == {"51": 700, "52": 0, "53": 1, "404": 0}
    assert found["53"][0]["toObjectId"] == "1001"
    assert found["53"][0]["associationTypes"][0]["typeId"] == 3
    assert sandbox.calls()["total"] == 2


def test_submissions_are_read_down_to_the_watermark(sandbox, client):
    hubspot = client()
    assert sum(map(len, hubspot.form_submissions(FORM, None))) == 130
    assert sandbox.calls()["total"] == 3
    watermark = minute(110 + 79)
    pages = list(hubspot.form_submissions(FORM, watermark))
    stamps = [row["submittedAt"] for page in pages for row in page]
    assert stamps == sorted(stamps, reverse=True)
    assert (len(stamps), len(pages)) == (51, 2)
    assert list(hubspot.form_submissions(FORM, NOW)) == []
    assert sandbox.calls()["total"] == 3 + 2 + 1


def test_email_clicks_of_a_window(client):
    hubspot = client()
    ((event,),) = hubspot.email_clicks(minute(250), minute(251))
    assert event["type"] == "CLICK"
    assert list(hubspot.email_clicks(None, minute(250))) == []


def test_clicks_of_the_click_api(sandbox):
    token = {"Authorization": f"Bearer {sandbox.env['CLICKS_TOKEN']}"}
    transport = Transport(sandbox.env["CLICKS_BASE_URL"], service="clicks", headers=token)
    pages = list(SOURCE.pages(transport, minute(240)))
    assert [len(page) for page in pages] == [1_000, 200]
    assert list(SOURCE.pages(transport, parse_instant("2026-05-01"))) == []
    transport.close()


def test_wrong_and_expired_tokens(sandbox, client):
    with pytest.raises(Unauthorized, match="HUBSPOT_ACCESS_TOKEN"):
        client(token="pat-na1-wrong").account_details()
    sandbox.faults([{"route": "GET /*", "kind": "401_expired", "count": 1}])
    with pytest.raises(Unauthorized, match=r"expired; renew"):
        client().account_details()
    sandbox.faults([])


def test_a_missing_scope_is_named(sandbox, client):
    sandbox.faults([{"route": SEARCH, "kind": "403", "count": 1, "scope": "crm.objects.contacts.read"}])
    with pytest.raises(Forbidden, match=r"crm\.objects\.contacts\.read"):
        client().count("contacts")
    sandbox.faults([])


def test_refusals_carry_hubspots_category(client):
    with pytest.raises(Rejected, match=r"hubspot POST .*search: 400 \(category=VALIDATION_ERROR") as caught:
        client().transport.request("POST", "/crm/objects/2026-09/contacts/search", json={"limit": 201})
    assert caught.value.status == 400


def test_a_bad_day_changes_calls_and_waits_but_not_the_result(sandbox, client):
    slept: list[float] = []
    hubspot = client(sleep=slept.append, timeout=(1.0, 0.3))
    sandbox.faults(
        [
            {"route": "POST /*", "kind": "429", "every": 9, "retry_after": 3},
            {"route": "POST /*", "kind": "429_no_retry_after", "every": 11, "policy": "TEN_SECONDLY_ROLLING"},
            {"route": "POST /*", "kind": "502", "every": 7},
            {"route": "POST /*", "kind": "drop", "every": 8},
            {"route": "POST /*", "kind": "bad_json", "every": 13},
            {"route": "POST /*", "kind": "timeout_after_accept", "seconds": 0.4, "every": 23},
        ]
    )
    ids = [change.id for change in everything(hubspot.changed("contacts", None, NOW))]
    read = hubspot.batch_read("contacts", ids, ["email"], ["lifecyclestage"])
    sandbox.faults([])
    assert len(set(ids)) == len(read.records) == 2_997
    assert max(slept) > 9
    assert len(slept) == hubspot.transport.calls - 76


def test_the_daily_quota_stops_at_once(sandbox, client):
    sandbox.faults([{"route": "POST /*", "kind": "429_no_retry_after", "count": 1, "policy": "DAILY"}])
    hubspot = client()
    with pytest.raises(QuotaExhausted):
        hubspot.count("contacts")
    sandbox.faults([])
    assert hubspot.transport.calls == 1


def test_under_real_limits_the_budget_avoids_refusals(client):
    """Eleven searches at 4 a second, with a server that refuses the sixth in a second."""
    with Sandbox.start([], iso(NOW), limits="real") as other:
        hubspot = client(other, budgets=hubspot_budgets(), sleep=time.sleep)
        started = time.monotonic()
        for _ in range(11):
            hubspot.count("contacts")
        assert hubspot.transport.calls == 11
        assert time.monotonic() - started >= 2
