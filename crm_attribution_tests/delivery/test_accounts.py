"""Several accounts of one platform in one delivery, over every destination there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

import pytest

from crm_attribution.destinations.base import Destination
from crm_attribution.errors import Retryable
from crm_attribution.mapping.conversions import ConversionRule
from crm_attribution_tests.delivery.outbox import SMALL, Outbox
from crm_attribution_tests.delivery.test_faults import Scripted
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

Make = Callable[..., Outbox]


def second(destination: Destination, emulator: str) -> dict[str, str]:
    """The setting of the sandbox's second account."""
    module = import_module(f"crm_attribution.sandbox.platforms.{emulator}")
    return {f"{destination.account_setting}__EU": module.FURTHER}


@pytest.fixture(params=[name for name, one in SMALL.items() if one.account_setting and one.plans_from == "milestones"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def two(make: Make, platform: str) -> Outbox:
    """An outbox with two conversions of each account; LinkedIn's rules say whose they are."""
    outbox = make(platform)
    destination = outbox.destination
    rows = [
        ConversionRule(milestone="customer_won", action=destination.example_action, account=account)
        for account in (None, "eu")
    ]
    section = outbox.rules.destinations[platform].model_copy(update={"conversions": rows})
    outbox.rules = outbox.rules.model_copy(update={"destinations": {**outbox.rules.destinations, platform: section}})
    outbox.env = {**outbox.env, **second(destination, outbox.emulator)}
    outbox.plan("a", "b")
    action = {"linkedin": "9104012"}.get(platform, destination.example_action)
    outbox.plan("c", "d", account=outbox.env[f"{destination.account_setting}__EU"], action=action)
    return outbox


def counts(sandbox: Sandbox, outbox: Outbox) -> Mapping[str, int]:
    found: Mapping[str, int] = sandbox.received(outbox.emulator)["accounts"]
    return found


def test_each_is_sent_to_its_own(two: Outbox, sandbox: Sandbox, counted: Callable[[Outbox], list[str]]):
    mine = two.env[f"{two.destination.account_setting}__EU"]
    before = counts(sandbox, two).get(mine, 0)
    report = two.deliver()
    assert counted(two) == ["a", "b", "c", "d"]
    assert counts(sandbox, two)[mine] == before + 2
    assert set(two.states().values()) == {"accepted"}
    assert (report.requests, report.sent, len(report.accounts)) == (2, 4, 2)
    assert report.facts()[f"{two.destination.name} eu"] == "2 accepted"
    assert two.deliver().requests == 0


def test_one_that_is_refused_or_incomplete_does_not_stop_the_other(two: Outbox, counted: Callable[[Outbox], list[str]]):
    mine = f"{two.destination.account_setting}__EU"
    report = two.deliver(environment={mine: ""})
    assert counted(two) == ["a", "b"]
    assert f"{two.destination.name} eu: not configured: {mine} (" in str(report.alert)
    assert {two.states()[name] for name in ("c", "d")} == {"held"}, "nobody's account: held by the first"
    two.deliver()
    assert counted(two) == ["a", "b", "c", "d"]


def test_what_became_of_one_is_not_taken_for_the_other(two: Outbox):
    """No answer to the first account's request: without dedupe that account alone sends one conversion alone next."""
    lost = Scripted(Retryable("no answer", sent=True))
    without = {f"{two.destination.account_setting}__EU": ""}
    two.deliver(transport=lost, environment=without)
    first = "unknown" if two.forgets else "retry"
    assert {two.states()[name] for name in ("a", "b")} == {first}
    two.plan("e", "f")
    report = two.deliver()
    sent = {one.account: one.requests for one in report.accounts}
    assert sent == {two.destination.name: 2 if two.forgets else 1, f"{two.destination.name} eu": 1}
    assert {two.states()[name] for name in ("c", "d", "e", "f")} == {"accepted"}
