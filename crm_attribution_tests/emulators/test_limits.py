"""Rate limits: real time, HubSpot's numbers and bodies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from crm_attribution_tests.emulators.lines import COMPANY, NOW
from crm_attribution_tests.sandbox import Sandbox


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


def test_limits_can_be_off(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY)
    assert {sandbox.hubspot("POST", "/crm/v3/objects/deals/search", {})[0] for _ in range(20)} == {200}
    assert sandbox.hubspot("POST", "/crm/v3/objects/deals/search", {"limit": 201})[0] == 400
