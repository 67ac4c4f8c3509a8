"""Rate limits: real time, HubSpot's numbers and bodies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from crm_attribution_tests.sandbox.lines import COMPANY, NOW
from crm_attribution_tests.sandbox_process import Sandbox, SandboxRefused

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def limited() -> Iterator[Sandbox]:
    with Sandbox.start(COMPANY, NOW, limits="real") as sandbox:
        yield sandbox


def test_search_has_five_calls_a_second_and_no_headers(limited: Sandbox):
    token = {"Authorization": f"Bearer {limited.env['HUBSPOT_ACCESS_TOKEN']}"}
    answers = [limited.request("POST", "/crm/v3/objects/deals/search", {}, token) for _ in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    body = answers[-1][1]
    assert (body["message"], body["errorType"]) == ("You have reached your secondly limit.", "RATE_LIMIT")
    assert body["policyName"] == "SECONDLY"
    assert not [name for _, _, headers in answers for name in headers if "ratelimit" in name or name == "retry-after"]
    time.sleep(1.05)
    assert limited.hubspot("POST", "/crm/v3/objects/deals/search", {})[0] == 200


def test_a_burst_has_a_hundred_calls(limited: Sandbox):
    token = {"Authorization": f"Bearer {limited.env['HUBSPOT_ACCESS_TOKEN']}"}
    answers = [limited.request("GET", "/crm/v3/owners", None, token) for _ in range(101)]
    assert [status for status, _, _ in answers] == [200] * 100 + [429]
    _, body, headers = answers[-1]
    assert (body["policyName"], body["status"], "retry-after" in headers) == ("TEN_SECONDLY_ROLLING", "error", False)
    first = answers[0][2]
    assert first["x-hubspot-ratelimit-max"] == "100"
    assert first["x-hubspot-ratelimit-remaining"] == "99"
    assert first["x-hubspot-ratelimit-interval-milliseconds"] == "10000"
    assert int(first["x-hubspot-ratelimit-daily-remaining"]) < 250_000
    other = {"inputs": [{"id": "21"}]}
    assert limited.hubspot("POST", "/crm/v4/associations/deals/contacts/batch/read", other)[0] == 200


def usage(sandbox: Sandbox) -> tuple[int, int, str]:
    status, answer = sandbox.hubspot("GET", "/account-info/v3/api-usage/daily/private-apps")
    assert status == 200, answer
    (row,) = answer["results"]
    assert (row["name"], row["fetchStatus"]) == ("private-apps-api-calls-daily", "SUCCESS")
    return row["currentUsage"], row["usageLimit"], row["resetsAt"]


def test_a_day_ends_at_the_account_s_midnight(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY, "2026-03-10T22:59:00Z")
    sandbox.set_limits(on=True, daily=4)
    owners = ("GET", "/crm/v3/owners")
    assert usage(sandbox) == (1, 4, "2026-03-10T23:00:00Z")
    token = {"Authorization": f"Bearer {sandbox.env['HUBSPOT_ACCESS_TOKEN']}"}
    headers = sandbox.request(*owners, None, token)[2]
    names = ("x-hubspot-ratelimit-daily", "x-hubspot-ratelimit-daily-remaining")
    assert [headers[name] for name in names] == ["4", "2"]
    assert [sandbox.hubspot("POST", "/crm/v3/objects/deals/search", {})[0] for _ in range(3)] == [200, 200, 429]
    status, answer = sandbox.hubspot(*owners)
    assert (status, answer["policyName"], answer["message"]) == (429, "DAILY", "You have reached your daily limit.")
    sandbox.set_clock("2026-03-10T23:00:00Z")
    assert usage(sandbox) == (1, 4, "2026-03-11T23:00:00Z")


def test_calls_are_counted_where_limits_are_off(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY)
    sandbox.set_limits(daily=1)
    assert usage(sandbox)[0] == 1
    assert usage(sandbox)[:2] == (2, 1)
    with pytest.raises(SandboxRefused, match="`daily` has the wrong type"):
        sandbox.set_limits(daily=True)
    with pytest.raises(SandboxRefused, match="an object of on, daily"):
        sandbox.set_limits(hourly=1)


def test_limits_can_be_set_one_by_one(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY)
    sandbox.set_limits(on=True, burst=2, search=1, associations=3)
    inputs = {"inputs": [{"id": "21"}]}
    calls = {
        2: ("GET", "/crm/v3/owners", None),
        1: ("POST", "/crm/v3/objects/deals/search", {}),
        3: ("POST", "/crm/v4/associations/deals/contacts/batch/read", inputs),
    }
    for most, call in calls.items():
        assert [sandbox.hubspot(*call)[0] for _ in range(4)] == [200] * most + [429] * (4 - most)


def test_limits_can_be_off(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY)
    assert {sandbox.hubspot("POST", "/crm/v3/objects/deals/search", {})[0] for _ in range(20)} == {200}
    assert sandbox.hubspot("POST", "/crm/v3/objects/deals/search", {"limit": 201})[0] == 400
