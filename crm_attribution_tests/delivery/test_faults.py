"""Platforms and networks that misbehave: nothing is counted twice, nothing lost, and what is not known is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from crm_attribution.configuration import load
from crm_attribution.delivery.deliver import transport_for
from crm_attribution.delivery.rules import Policy
from crm_attribution.destinations.base import Answer, Resolved
from crm_attribution.errors import Retryable
from crm_attribution.http.transport import Transport
from crm_attribution.ledger import moves
from crm_attribution_tests.delivery.outbox import FEW, NOW, SMALL, Outbox, over_kinds, resolved, with_limits
from crm_attribution_tests.destinations import conformance
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

Make = Callable[..., Outbox]
Counted = Callable[[Outbox], list[str]]
Requests = Callable[[str], int]

NAMES_BAD_ROWS = {"linkedin": 2, "google": 2, "microsoft": 1}
"""Requests of platforms whose refusal says which rows are bad; elsewhere they are searched for by halving."""

PLACES = [(1, "first"), (2, "last"), (3, "first"), (20, "first"), (20, "last")]
"""How many rows a batch has, and where in it the bad one is."""

LATER = NOW + timedelta(hours=8)


class Scripted:
    """A platform that answers from a list, or raises what stands in it; the last entry repeats."""

    def __init__(self, *answers: Answer | Exception):
        self.answers, self.requests = list(answers), 0

    def send_once(self, *_, **__) -> Answer:
        self.requests += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def route(outbox: Outbox) -> str:
    """Every upload to the platform."""
    request = outbox.destination.build([conformance.ready(outbox.destination)], outbox.values, {"crm_name": "HubSpot"})
    return f"POST {outbox.path}{request.path}"


def refusable(outbox: Outbox, *names: str) -> tuple[dict[str, Any], str]:
    """What makes a row that we believe in one that the platform refuses, and the code it gives for it."""
    if outbox.destination.is_hubspot:
        lacking: dict[str, Any] = {"details": {"no_such_property": "x"}}
        if outbox.destination.told_as == "note":
            lacking = {"contact_id": 0}
        outbox.people |= {name: resolved(outbox.tag + name, **lacking) for name in names}
        return {}, "VALIDATION_ERROR"
    if outbox.destination.plans_from == "news":
        lacking = {"details": {"title": "x", "color": "none"}}
        outbox.people |= {name: resolved(outbox.tag + name, **lacking) for name in names}
        return {}, "invalid_attachments"
    if outbox.destination.name == "google":  # of what is too old it says so later
        return {"currency": "EURO"}, "INVALID_CURRENCY_CODE"
    # Older than the platform allows, younger than we believe.
    old = NOW - outbox.destination.limits.max_age - timedelta(hours=1)
    return {"occurred_at": old, "expires_at": LATER}, "too_old"


def impatient(outbox: Outbox) -> Transport:
    """Gives up on an answer after a fifth of a second."""
    transport = transport_for(outbox.destination, load(outbox.env))
    transport._timeout = (1.0, 0.2)
    return transport


@pytest.mark.parametrize("kind", ["timeout_after_accept", "drop_after_accept", "bad_json"])
def test_applied_but_not_answered(
    make: Make, counted: Counted, requests: Requests, sandbox: Sandbox, platform: str, kind: str
):
    outbox = make(platform)
    outbox.plan("a", "b", "c", "d")
    sandbox.faults([{"route": route(outbox), "kind": kind, "count": 1, "seconds": 0.6}])
    outbox.deliver(transport=impatient(outbox))
    outbox.now = LATER
    outbox.deliver()
    after = requests(platform)
    assert counted(outbox) == ["a", "b", "c", "d"]
    if outbox.forgets:  # may count every event: never sent again by itself
        assert sorted(outbox.states().values()) == ["accepted", "accepted", "unknown", "unknown"]
    else:  # knows our key: sent again, counted once
        assert set(outbox.reasons().values()) == {("accepted", None)}
    outbox.deliver()
    assert requests(platform) == after


@pytest.mark.parametrize(("platform", "status"), over_kinds(["500", "503"], ["503"]))
def test_a_server_error_leaves_the_end_unknown(
    make: Make, counted: Counted, sandbox: Sandbox, platform: str, status: str
):
    outbox = make(platform)
    outbox.plan("a", "b")
    sandbox.faults([{"route": route(outbox), "kind": status, "count": 1}])
    outbox.deliver()
    assert set(outbox.states().values()) == {"unknown" if outbox.forgets else "retry"}
    outbox.now = LATER
    outbox.deliver()
    assert counted(outbox) == ([] if outbox.forgets else ["a", "b"])


def test_an_uncertain_row_is_not_sent_again_after_the_platform_forgot_its_key(make: Make, requests: Requests):
    outbox = make("meta")
    outbox.plan("a")
    outbox.deliver(transport=Scripted(Retryable("no answer", sent=True)))
    assert outbox.rows()["a"]["state"] == "retry"
    outbox.now = NOW + timedelta(hours=47, minutes=1)
    before = requests("meta")
    outbox.deliver()
    assert outbox.reasons() == {"a": ("unknown", "dedupe_window_passed")}
    assert requests("meta") == before


def test_a_refused_send_does_not_open_the_duplicate_window(make: Make, counted: Counted, sandbox: Sandbox):
    outbox = make("meta")
    outbox.plan("a")
    sandbox.faults([{"route": route(outbox), "kind": "401_expired", "count": 1}])
    outbox.deliver()
    assert outbox.rows()["a"]["first_sent_at"] is None
    outbox.now = NOW + timedelta(hours=60)
    outbox.deliver()
    assert counted(outbox) == ["a"]


@pytest.mark.parametrize("reason", ["consent_denied", "too_old", "payload_changed"])
def test_what_may_have_been_applied_is_never_called_unsent(make: Make, reason: str):
    outbox = make("meta")
    outbox.plan("a")
    outbox.deliver(transport=Scripted(Retryable("no answer", sent=True)))
    outbox.now = LATER
    if reason == "consent_denied":
        outbox.people["a"] = _denied(outbox)
    elif reason == "too_old":
        outbox.change("a", expires_at=NOW)
    else:
        outbox.change("a", value=1)
    outbox.deliver()
    assert outbox.reasons() == {"a": ("unknown", reason)}


def _denied(outbox: Outbox) -> Resolved:
    return replace(resolved(outbox.tag + "a"), consent="denied")


@pytest.mark.parametrize("platform", FEW)
def test_another_event_under_a_used_key_is_never_sent(make: Make, requests: Requests, sandbox: Sandbox, platform: str):
    outbox = make(platform)
    outbox.plan("a")
    sandbox.faults([{"route": route(outbox), "kind": "403", "count": 1}])
    outbox.deliver()
    outbox.change("a", value=999)
    before = requests(platform)
    outbox.deliver()
    assert outbox.reasons() == {"a": ("rejected", "payload_changed")}
    assert requests(platform) == before


@pytest.mark.parametrize(("platform", "place"), over_kinds(PLACES, [(1, "first"), (20, "last")]))
def test_one_bad_row_is_found_and_costs_nobody_else(
    make: Make, counted: Counted, platform: str, place: tuple[int, str]
):
    size, position = place
    outbox = make(platform)
    outbox.destination = with_limits(outbox.destination, batch=20)
    names = [f"n{number:02d}" for number in range(size)]
    bad = names[0] if position == "first" else names[-1]
    if size > 1:
        outbox.plan(*(name for name in names if name != bad))
    columns, code = refusable(outbox, bad)
    outbox.plan(bad, **columns)
    report = outbox.deliver()
    assert outbox.reasons()[bad] == ("rejected", code)
    assert counted(outbox) == sorted(set(names) - {bad})
    assert report.counts == {"rejected": 1, **({"accepted": size - 1} if size > 1 else {})}
    assert report.requests <= NAMES_BAD_ROWS.get(platform, 2 * size.bit_length() + 1)
    assert all(row["attempts"] == 1 for row in outbox.rows().values())


def test_every_row_is_bad(make: Make, counted: Counted, platform: str):
    outbox = make(platform)
    outbox.destination = with_limits(outbox.destination, batch=5)
    columns, code = refusable(outbox, *"abcde")
    outbox.plan("a", "b", "c", "d", "e", **columns)
    outbox.deliver()
    assert set(outbox.reasons().values()) == {("rejected", code)}
    assert counted(outbox) == []


def test_the_search_for_bad_rows_is_bounded_and_goes_on_next_time(make: Make):
    outbox = make("meta")
    outbox.destination = with_limits(outbox.destination, batch=8)
    outbox.plan(*"abcdefgh", occurred_at=NOW - timedelta(days=8), expires_at=LATER)
    report = outbox.deliver(policy=Policy(resends=4))
    assert report.stopped == "4 refused requests: the rest waits for the next delivery"
    assert 0 < report.counts["rejected"] < 8
    for _ in range(5):
        outbox.deliver(policy=Policy(resends=4))
    assert set(outbox.states().values()) == {"rejected"}


def test_throttled_with_a_wait_that_can_be_waited_for(make: Make, counted: Counted, sandbox: Sandbox, platform: str):
    outbox = make(platform)
    outbox.plan("a", "b", "c")
    sandbox.faults([{"route": route(outbox), "kind": "429", "count": 2, "retry_after": 7}])
    report = outbox.deliver()
    assert outbox.slept == [7.0, 7.0]
    assert report.stopped is None
    assert counted(outbox) == ["a", "b", "c"]
    assert {row["attempts"] for row in outbox.rows().values()} == {1}


@pytest.mark.parametrize("platform", FEW)
def test_throttled_for_long_pauses_the_account_and_loses_no_attempt(
    make: Make, counted: Counted, requests: Requests, sandbox: Sandbox, platform: str
):
    outbox = make(platform)
    outbox.plan("a", "b", "c")
    sandbox.faults([{"route": route(outbox), "kind": "429", "count": 1, "retry_after": 600}])
    report = outbox.deliver()
    assert report.paused_until == NOW + timedelta(seconds=600)
    assert outbox.slept == []
    assert {row["attempts"] for row in outbox.rows().values()} == {0}
    before = requests(platform)
    outbox.now = NOW + timedelta(seconds=599)
    assert "pause until 2026-03-10T12:10:00Z" in str(outbox.deliver().stopped)
    assert requests(platform) == before
    outbox.now = NOW + timedelta(seconds=600)
    outbox.deliver()
    assert counted(outbox) == ["a", "b", "c"]


@pytest.mark.parametrize("platform", FEW)
def test_throttled_without_a_wait_backs_off_and_ends_bounded(make: Make, sandbox: Sandbox, platform: str):
    outbox = make(platform)
    outbox.plan("a", "b", "c")
    sandbox.faults([{"route": route(outbox), "kind": "429_no_retry_after"}])
    report = outbox.deliver()
    assert outbox.slept == [5.0, 10.0, 20.0, 40.0]
    assert report.paused_until == NOW + timedelta(seconds=80)
    for _ in range(2):
        outbox.now += timedelta(hours=1)
        outbox.deliver()
    assert {row["attempts"] for row in outbox.rows().values()} == {0}
    assert {row["state"] for row in outbox.rows().values()} <= {"retry", "pending"}


@pytest.mark.parametrize("text", ["0", "soon", "999999999"])
def test_any_retry_after_ends_in_a_sane_wait(make: Make, text: str):
    outbox = make("meta")
    outbox.plan("a")
    report = outbox.deliver(transport=Scripted(Answer(429, {"Retry-After": text}, None)))
    assert all(1 <= wait <= 120 for wait in outbox.slept)
    assert report.paused_until is not None
    assert NOW < report.paused_until <= NOW + timedelta(days=1)


@pytest.mark.parametrize(("platform", "kind"), over_kinds(["401_expired", "403"], ["401_expired"]))
def test_a_refused_token_stops_the_account_and_costs_no_attempt(
    make: Make, counted: Counted, sandbox: Sandbox, platform: str, kind: str
):
    outbox = make(platform)
    outbox.plan("a", "b", "c", "d", "e")
    sandbox.faults([{"route": route(outbox), "kind": kind}])
    for hour in (0, 1, 12):
        outbox.now = NOW + timedelta(hours=hour)
        report = outbox.deliver()
        assert report.requests == 1
        assert report.alert is not None
        assert outbox.destination.credential in report.alert
    assert sorted(outbox.states().values()) == ["pending"] * 3 + ["retry"] * 2
    assert {row["attempts"] for row in outbox.rows().values()} == {0}
    sandbox.faults([])
    outbox.deliver()
    assert counted(outbox) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("platform", FEW)
def test_no_connection_costs_no_attempt(make: Make, counted: Counted, platform: str):
    outbox = make(platform)
    outbox.plan(*"abcdefghij")
    nowhere = {outbox.destination.base_url_setting: "http://127.0.0.1:9"}
    report = outbox.deliver(environment=nowhere)
    assert report.stopped == "3 requests in a row failed (no_connection)"
    assert report.requests == 3
    assert {row["attempts"] for row in outbox.rows().values()} == {0}
    assert sorted(outbox.states().values()) == ["pending"] * 4 + ["retry"] * 6
    outbox.deliver()
    assert counted(outbox) == list("abcdefghij")


def test_attempts_are_bounded(make: Make):
    outbox = make("meta")
    outbox.plan("a", "b", expires_at=NOW + timedelta(days=7))
    html = Answer(400, {}, "<html>", readable=False)
    for hour in range(12):
        outbox.now = NOW + timedelta(hours=7 * hour)
        outbox.deliver(transport=Scripted(html))
    assert set(outbox.reasons().values()) == {("rejected", "attempts_spent")}
    assert {row["attempts"] for row in outbox.rows().values()} == {8}
    assert len(outbox.attempts()) == 16


def test_spent_attempts_of_which_one_may_have_been_applied_are_unknown(make: Make):
    outbox = make("meta")
    outbox.plan("a")
    for hour in range(9):
        outbox.now = NOW + timedelta(minutes=320 * hour)
        outbox.deliver(transport=Scripted(Retryable("no answer", sent=True)))
    assert outbox.reasons()["a"][0] == "unknown"


def test_results_that_do_not_match_are_uncertain(make: Make, platform: str):
    outbox = make(platform)
    outbox.plan("a", "b")
    body = {"meta": {"events_received": 1}, "linkedin": {"elements": [{"status": 201}]}}.get(platform, {})
    outbox.deliver(transport=Scripted(Answer(200, {}, body)))
    expected = "unknown" if outbox.forgets else "retry"
    code = "no_request_id" if platform == "google" else "results_do_not_match"
    assert set(outbox.reasons().values()) == {(expected, code)}


def test_results_are_read_row_by_row(make: Make):
    outbox = make("linkedin")
    outbox.destination = with_limits(outbox.destination, batch=9)
    outbox.plan(*"abcd")
    statuses = [{"status": 201}, {"status": 422}, {"status": 503}, {"status": 429}]
    outbox.deliver(transport=Scripted(Answer(200, {}, {"elements": statuses})))
    assert sorted(outbox.reasons().values(), key=str) == [
        ("accepted", None),
        ("rejected", "status_422"),
        ("retry", "status_429"),
        ("unknown", "status_503"),
    ]


def test_a_late_answer_for_an_older_batch_changes_the_log_alone(make: Make):
    outbox = make("meta")
    outbox.plan("a")
    inner: list[str] = []

    def interrupted(point: str) -> None:
        if point == "answered" and not inner:
            inner.append(outbox.attempts()[0]["batch_id"])
            outbox.deliver()  # another owner takes over and finishes while our answer is on its way

    outbox.deliver(interrupted)
    newer = outbox.rows()["a"]
    assert newer["state"] == "accepted"
    assert newer["batch_id"] != inner[0]
    assert newer["attempts"] == 2
    assert [(row["batch_id"] == inner[0], row["outcome"]) for row in outbox.attempts()].count((True, "accepted")) == 1


def test_a_late_answer_ends_what_another_owner_gave_up_as_unknown(make: Make, counted: Counted):
    outbox = make("linkedin")
    outbox.plan("a")
    seen: list[str] = []

    def interrupted(point: str) -> None:
        if point == "answered" and not seen:
            seen.append("")
            outbox.deliver()
            assert outbox.reasons() == {"a": ("unknown", "interrupted")}

    outbox.deliver(interrupted)
    assert outbox.reasons() == {"a": ("accepted", None)}
    assert counted(outbox) == ["a"]


@pytest.mark.parametrize("state", ["accepted", "rejected", "retry"])
def test_a_person_decides_unknown_rows(make: Make, requests: Requests, state: str):
    outbox = make("linkedin")
    (key,) = outbox.plan("a")
    outbox.deliver(transport=Scripted(Retryable("no answer", sent=True)))
    before = requests("linkedin")
    with outbox.ledger.writing() as book:
        assert moves.reconcile(book, [key], state, "campaign_manager", NOW) == [key]
    outbox.deliver()
    assert outbox.states() == {"a": "accepted" if state == "retry" else state}
    assert requests("linkedin") - before == (1 if state == "retry" else 0)


@pytest.mark.parametrize("kind", ["500", "bad_json", "drop_after_accept"])
def test_after_an_uncertain_end_one_row_is_sent_alone_before_a_batch_follows(
    make: Make, requests: Requests, sandbox: Sandbox, kind: str
):
    """A platform that does not recognise our key: an outage parks one batch, then a row an attempt."""
    outbox = make("linkedin", with_limits(SMALL["linkedin"], batch=5))
    outbox.plan(*(f"r{n:02}" for n in range(30)))
    sandbox.faults([{"route": route(outbox), "kind": kind}])
    outbox.deliver()
    assert Counter(outbox.states().values()) == {"unknown": 5 + 1 + 1, "pending": 23}
    outbox.deliver()  # the next hour knows of it
    assert Counter(outbox.states().values()) == {"unknown": 7 + 3, "pending": 20}
    sandbox.faults([])
    before = requests("linkedin")
    outbox.deliver()
    assert Counter(outbox.states().values()) == {"unknown": 10, "accepted": 20}
    assert requests("linkedin") - before == 5, "one alone, the four others of its batch, then three whole batches"


@pytest.mark.parametrize(("platform", "status"), over_kinds([400, 401, 403, 404, 413, 422, 429]))
def test_a_refusal_that_is_not_the_platform_s_own_proves_nothing_where_our_key_is_not_recognised(
    make: Make, platform: str, status: int
):
    """What a proxy refuses may have been applied behind it."""
    outbox = make(platform)
    outbox.plan("a")
    outbox.deliver(transport=Scripted(Answer(status, {}, "<html>refused</html>", readable=False)))
    if outbox.forgets:
        assert outbox.reasons() == {"a": ("unknown", f"http_{status}_not_its_own")}
    else:
        assert outbox.states()["a"] in ("retry", "rejected")


@dataclass(frozen=True)
class Ahead:
    """A wall clock that does not go with the platform's."""

    seconds: float
    is_wall: bool = True

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


@pytest.mark.parametrize(("platform", "seconds"), over_kinds([-301, -299, -61, -59, 0, 59, 61, 299, 301]))
def test_a_clock_that_does_not_go_with_the_platform_s_warns_and_stops(make: Make, platform: str, seconds: int):
    outbox = make(platform)
    outbox.plan("a", "b", "c", "d")
    seen = []

    class Dated(Scripted):
        def send_once(self, *_, **__) -> Answer:
            seen.append(1)
            return Answer(503, {"Date": format_datetime(NOW.astimezone(UTC), usegmt=True)}, None)

    report = outbox.deliver(clock=Ahead(seconds), transport=Dated())
    apart = f"{abs(seconds)} s apart"
    if abs(seconds) > 300:
        assert apart in (report.alert or "")
        assert apart in (report.stopped or "")
        assert len(seen) == 1, "the answer it has is recorded, nothing else is sent"
        assert "pending" in outbox.states().values()
    else:
        assert len(seen) > 1
        assert report.alert is None
    assert (apart in (report.warning or "")) == (60 < abs(seconds) <= 300)
    assert "in_flight" not in outbox.states().values()
