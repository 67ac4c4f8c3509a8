"""The program and its control path: start, clock, calls, faults, more log, stop."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crm_attribution_tests.sandbox.lines import COMPANY, NOW, create, day, update
from crm_attribution_tests.sandbox.test_hubspot import search
from crm_attribution_tests.sandbox.test_platforms import event, to_meta
from crm_attribution_tests.sandbox_process import Sandbox, SandboxRefused, write_portal

pytestmark = pytest.mark.sandbox

OWNERS = "/crm/owners/2026-09"


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox.start(COMPANY, NOW) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Iterator[Sandbox]:
    """One program for all tests here, without faults and counts before and after."""
    shared.reset_calls()
    yield shared
    shared.faults([])


def test_it_starts_ready_and_stops_on_a_signal(tmp_path: Path):
    env_file = tmp_path / "sandbox.env"
    log = write_portal(tmp_path / "log.jsonl", COMPANY)
    sandbox = Sandbox.start(log, NOW, arguments=["--write-env", str(env_file)])
    try:
        written = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
        assert written == sandbox.env
        assert written["HUBSPOT_BASE_URL"] == sandbox.base_url
        assert written["CRM_ATTRIBUTION_CLOCK"] == f"{sandbox.base_url}/_sandbox/clock"
        assert sorted(tmp_path.iterdir()) == [log, env_file]
        sandbox.faults([{"route": "GET *", "kind": "slow", "seconds": 60}])
        hanging = threading.Thread(target=_ignore_end, args=(sandbox,), daemon=True)
        hanging.start()
        time.sleep(0.1)
    finally:
        began = time.monotonic()
        status = sandbox.stop()
    assert status == 0
    assert time.monotonic() - began < 4


def _ignore_end(sandbox: Sandbox) -> None:
    try:
        sandbox.hubspot("GET", OWNERS)
    except (OSError, http.client.HTTPException):
        return


@pytest.mark.parametrize(
    ("text", "clock", "words"),
    [
        ('{"at": "2026-03-01", "op": "spend", "spend": {}}\n{"at": "x"}\n', NOW, "line 2: misses the field `op`"),
        ('{"at": "2026-03-01", "op": "archive", "object": "deals", "id": "5"}\n', NOW, "archive of deals 5"),
        ("", "tomorrow", "--clock is not an ISO 8601 timestamp: 'tomorrow'"),
    ],
)
def test_it_says_why_it_does_not_start(tmp_path: Path, text: str, clock: str, words: str):
    log = tmp_path / "log.jsonl"
    log.write_text(text)
    with pytest.raises(SandboxRefused) as caught:
        Sandbox.start(log, clock)
    assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_the_clock_goes_forward_only(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY)
    assert sandbox.clock() == NOW
    sandbox.set_clock(day(20))
    assert sandbox.clock() == day(20)
    assert sandbox.hubspot("GET", "/crm/v3/objects/contacts/11?properties=lifecyclestage")[1]["updatedAt"] == day(20)
    with pytest.raises(SandboxRefused, match="does not go back"):
        sandbox.set_clock(day(19))
    assert sandbox.clock() == day(20)


def test_more_log_is_played_when_it_is_due(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY)
    sandbox.log([update(day(9), "deals", 22, amount="950"), update(day(11), "deals", 22, amount="1000")])
    assert sandbox.hubspot("GET", "/crm/v3/objects/deals/22")[1]["properties"]["amount"] == "950"
    sandbox.set_clock(day(11))
    assert sandbox.hubspot("GET", "/crm/v3/objects/deals/22")[1]["properties"]["amount"] == "1000"
    with pytest.raises(SandboxRefused, match="line 1: `object` must be one of"):
        sandbox.log([create(day(12), "tickets", 1)])


def test_calls_are_counted_by_route(sandbox: Sandbox):
    sandbox.hubspot("GET", "/crm/objects/2026-09/0-1/11")
    sandbox.hubspot("GET", "/crm/v3/objects/contacts/ben@ufer.example?idProperty=email")
    sandbox.hubspot("POST", "/crm/v3/objects/contacts/search", {})
    sandbox.hubspot("POST", "/crm/associations/2026-03/deals/0-1/batch/read", {"inputs": []})
    to_meta(sandbox, event(event_id="count me"))
    sandbox.clock()
    assert sandbox.calls() == {
        "total": 5,
        "routes": {
            "GET /crm/objects/contacts/{id}": 2,
            "POST /crm/associations/deals/contacts/batch/read": 1,
            "POST /crm/objects/contacts/search": 1,
            "POST /meta/{id}/events": 1,
        },
    }
    sandbox.reset_calls()
    assert sandbox.calls() == {"total": 0, "routes": {}}


def test_unknown_platforms_are_named(sandbox: Sandbox):
    with pytest.raises(
        SandboxRefused,
        match=r"known are .*google, hubspot_events, .*meta, microsoft",
    ):
        sandbox.received("myspace")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "429"}, "`route` is a method and a path"),
        ({"route": "GET /crm/*", "kind": "meteor"}, "`kind` is 'meteor'"),
        ({"route": "GET /crm/*", "kind": "429", "often": 2}, "`often` is unknown"),
        ({"route": "GET /crm/*", "kind": "429", "every": 0}, "`every` must be at least 1"),
        ({"route": "GET /crm/*", "kind": "429", "count": "2"}, "`count` has the wrong type"),
    ],
)
def test_faults_that_are_not_understood(sandbox: Sandbox, fault: dict[str, Any], words: str):
    with pytest.raises(SandboxRefused, match=words):
        sandbox.faults([fault])


def statuses(sandbox: Sandbox, calls: int) -> list[int]:
    return [sandbox.hubspot("GET", OWNERS)[0] for _ in range(calls)]


def test_how_often_a_fault_strikes(sandbox: Sandbox):
    sandbox.faults([{"route": "GET /crm/owners", "kind": "503", "count": 2}])
    assert statuses(sandbox, 4) == [503, 503, 200, 200]
    assert [(fault["hits"], fault["seen"]) for fault in sandbox.faults()] == [(2, 4)]
    sandbox.faults([{"route": "* /crm/owners/2026-09", "kind": "500", "every": 3}])
    assert statuses(sandbox, 6) == [200, 200, 500, 200, 200, 500]
    half = {"route": "GET /crm/*", "kind": "500", "probability": 0.5, "seed": 7}
    sandbox.faults([half])
    first = statuses(sandbox, 20)
    sandbox.faults([half])
    assert statuses(sandbox, 20) == first
    assert {200, 500} == set(first)
    sandbox.faults([])
    assert statuses(sandbox, 1) == [200]


@pytest.mark.parametrize(
    ("fault", "status", "body", "retry_after"),
    [
        ({"kind": "429", "policy": "DAILY", "retry_after": 7}, 429, {"policyName": "DAILY"}, "7"),
        ({"kind": "429_no_retry_after"}, 429, {"policyName": "TEN_SECONDLY_ROLLING", "errorType": "RATE_LIMIT"}, None),
        ({"kind": "401"}, 401, {"category": "INVALID_AUTHENTICATION"}, None),
        ({"kind": "401_expired"}, 401, {"category": "EXPIRED_AUTHENTICATION"}, None),
        ({"kind": "403", "scope": "forms"}, 403, {"category": "MISSING_SCOPES"}, None),
        ({"kind": "477", "retry_after": 3600}, 477, {"status": "error"}, "3600"),
        ({"kind": "503"}, 503, {"status": "error"}, None),
    ],
)
def test_refusals_speak_hubspot(
    sandbox: Sandbox, fault: dict[str, Any], status: int, body: dict[str, str], retry_after: str | None
):
    sandbox.faults([{"route": "GET /crm/owners", **fault}])
    token = {"Authorization": f"Bearer {sandbox.env['HUBSPOT_ACCESS_TOKEN']}"}
    answered, said, headers = sandbox.request("GET", OWNERS, None, token)
    assert answered == status
    assert body.items() <= said.items()
    assert headers.get("retry-after") == retry_after
    if "scope" in fault:
        assert said["errors"][0]["context"]["requiredScopes"] == ["forms"]


def test_a_gateway_answers_with_a_page(sandbox: Sandbox):
    sandbox.faults([{"route": "GET /crm/owners", "kind": "502"}])
    assert sandbox.hubspot("GET", OWNERS) == (502, "<html><body><h1>502</h1></body></html>")


@pytest.mark.parametrize("path", ["/crm/v3/objects/deals/search", "/crm/objects/2026-09/deals/batch/read"])
@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [("429", 429, "1"), ("429_no_retry_after", 429, None), ("423", 423, None), ("477", 477, "1"), ("524", 524, None)],
)
def test_posts_are_refused_like_reads(sandbox: Sandbox, path: str, kind: str, status: int, retry_after: str | None):
    sandbox.faults([{"route": "POST /crm/objects/*", "kind": kind}])
    token = {"Authorization": f"Bearer {sandbox.env['HUBSPOT_ACCESS_TOKEN']}"}
    answered, _, headers = sandbox.request("POST", path, {"inputs": []}, token)
    assert (answered, headers.get("retry-after")) == (status, retry_after)


BATCH = {"inputs": [{"id": "11"}, {"id": "12"}, {"id": "13"}], "propertiesWithHistory": ["email"]}


@pytest.mark.parametrize(
    ("fault", "histories"),
    [
        ({"kind": "no_history"}, {"11": True, "12": "no key", "13": True}),
        ({"kind": "null_history", "record": "13"}, {"11": True, "12": True, "13": None}),
        ({"kind": "missing_row"}, {"11": True, "13": True}),
        ({"kind": "missing_row", "record": "99"}, {"11": True, "12": True, "13": True}),
    ],
)
def test_one_record_of_an_answer_is_spoilt(sandbox: Sandbox, fault: dict[str, Any], histories: dict[str, Any]):
    sandbox.faults([{"route": "* /crm/objects/*", **fault}])
    for method, path, body in (
        ("POST", "/crm/objects/2026-09/contacts/batch/read", BATCH),
        ("GET", "/crm/objects/2026-09/contacts?limit=50&propertiesWithHistory=email", None),
    ):
        status, answer = sandbox.hubspot(method, path, body)
        shown = {row["id"]: row.get("propertiesWithHistory", "no key") for row in answer["results"]}
        assert {name: bool(found) if isinstance(found, dict) else found for name, found in shown.items()} == histories
        assert (status, "errors" in answer) == (200, False)
    assert sandbox.faults()[0]["hits"] == (0 if fault.get("record") == "99" else 2)


def test_refusals_speak_the_platform(sandbox: Sandbox):
    sandbox.faults([{"route": "POST /meta/*", "kind": "429"}])
    status, answer = to_meta(sandbox, event())
    assert (status, answer["error"]["code"], answer["error"]["is_transient"]) == (429, 80004, True)


def test_half_an_answer(sandbox: Sandbox):
    sandbox.faults([{"route": "GET /crm/owners", "kind": "bad_json"}])
    status, answer = sandbox.hubspot("GET", OWNERS)
    assert status == 200
    assert isinstance(answer, str)
    assert answer.startswith('{"results":[')


def counted(sandbox: Sandbox, identifier: str) -> int:
    return [item["event_id"] for item in sandbox.received("meta")["counted"]].count(identifier)


def test_a_dropped_call_is_not_applied(sandbox: Sandbox):
    sandbox.faults([{"route": "POST /meta/*", "kind": "drop"}])
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        to_meta(sandbox, event(event_id="dropped"))
    assert counted(sandbox, "dropped") == 0


def test_a_call_dropped_after_it_was_accepted_is(sandbox: Sandbox):
    sandbox.faults([{"route": "POST /meta/*", "kind": "drop_after_accept"}])
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        to_meta(sandbox, event(event_id="taken"))
    assert counted(sandbox, "taken") == 1


def test_a_silent_platform_has_applied_what_it_got(sandbox: Sandbox):
    sandbox.faults([{"route": "POST /meta/*", "kind": "timeout_after_accept", "seconds": 1}])
    waiting = threading.Thread(target=to_meta, args=(sandbox, event(event_id="silent")))
    waiting.start()
    while not counted(sandbox, "silent"):
        assert waiting.is_alive()
        time.sleep(0.01)
    assert waiting.is_alive()
    waiting.join(timeout=5)


def test_a_slow_call_is_answered_late(sandbox: Sandbox):
    sandbox.faults([{"route": "GET /crm/owners", "kind": "slow", "seconds": 0.3}])
    began = time.monotonic()
    assert statuses(sandbox, 1) == [200]
    assert time.monotonic() - began >= 0.3


def test_a_lagging_index_answers_from_the_past(start: Callable[..., Sandbox]):
    sandbox = start([*COMPANY, create(day(20, "09:01:00"), "contacts", 15)])
    sandbox.set_clock(day(20, "09:02:00"))
    sandbox.faults([{"route": "POST /crm/objects/*/search", "kind": "index_lag", "seconds": 300}])
    asked = {"sorts": ["-lastmodifieddate"], "properties": ["lifecyclestage"]}
    late = search(sandbox, "contacts", **asked)[1]
    assert [row["id"] for row in late["results"]] == ["11", "13", "12"]
    assert late["results"][0]["properties"]["lifecyclestage"] == "opportunity"
    assert late["results"][0]["updatedAt"] == day(4)
    assert sandbox.hubspot("GET", "/crm/v3/objects/contacts/15")[0] == 200
    sandbox.set_clock(day(20, "09:06:00"))
    fresh = search(sandbox, "contacts", **asked)[1]
    assert [row["id"] for row in fresh["results"]] == ["15", "11", "13", "12"]
