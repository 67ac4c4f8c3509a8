"""A platform that tells later what became of a request: asked in time, its rows settled, nothing counted twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from crm_attribution.clock import parse_instant
from crm_attribution.delivery.rules import batches
from crm_attribution.destinations.base import LAST_ASKED, Answer, Limits
from crm_attribution.ledger.tables import RECEIPT
from crm_attribution_tests.delivery.outbox import NOW, Outbox, resolved, with_limits
from crm_attribution_tests.delivery.test_faults import Scripted
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

Make = Callable[..., Outbox]
Counted = Callable[[Outbox], list[str]]

HALF = timedelta(minutes=30)


def receipt(outbox: Outbox) -> list[dict[str, Any]]:
    with outbox.ledger.writing() as book:
        return list(book.read(RECEIPT).sort("accepted_at", "receipt").iter_rows(named=True))


@pytest.fixture
def outbox(make: Make, sandbox: Sandbox) -> Outbox:
    """Batches of nine, at the sandbox's time, which only goes on."""
    made = make("google", now=parse_instant(sandbox.clock()))
    made.destination = with_limits(made.destination, batch=9)
    return made


def later(outbox: Outbox, sandbox: Sandbox, wait: timedelta) -> None:
    outbox.now += wait
    sandbox.set_clock(outbox.now.isoformat())


def test_a_request_is_asked_about_when_it_may_be_done(outbox: Outbox, sandbox: Sandbox, counted: Counted):
    outbox.plan("a", "b", "c")
    outbox.deliver()
    assert set(outbox.states().values()) == {"accepted"}
    outbox.now += HALF  # ours; the platform's own clock says it is not done
    outbox.deliver()
    (row,) = receipt(outbox)
    assert (row["status"], row["asked"], row["next_ask_at"] - outbox.now) == ("waiting", 1, 2 * HALF)
    later(outbox, sandbox, HALF)
    outbox.deliver()
    assert receipt(outbox) == [row], "not before its time"
    later(outbox, sandbox, HALF)
    report = outbox.deliver()
    assert report.counts == {"processed": 3}
    (row,) = receipt(outbox)
    assert (row["status"], row["asked"], row["next_ask_at"], row["conversions"]) == ("processed", 2, None, 3)
    outbox.deliver()
    assert receipt(outbox) == [row]
    assert counted(outbox) == ["a", "b", "c"]


def test_what_failed_is_told_by_reason_and_by_row_where_all_ended_alike(outbox: Outbox, sandbox: Sandbox):
    """One action each: all of one are too old, of another some have a click id that is none."""
    outbox.plan("old", action="1", occurred_at=NOW - timedelta(days=91), expires_at=NOW + timedelta(days=9))
    outbox.plan("good", "bad", action="2")
    outbox.plan("fine", action="3")
    outbox.people["bad"] = resolved(outbox.tag + "bad", click_id="abc")
    outbox.deliver()
    later(outbox, sandbox, HALF)
    outbox.deliver()
    assert outbox.reasons() == {
        "old": ("rejected", "EVENT_TOO_OLD"),
        "good": ("accepted", "partly_processed"),
        "bad": ("accepted", "partly_processed"),
        "fine": ("processed", None),
    }
    (row,) = receipt(outbox)
    assert row["status"] == "partly"
    assert json.loads(row["errors"]) == {"EVENT_TOO_OLD": 1, "INVALID_GCLID": 1}


def test_what_was_not_applied_goes_again_and_not_for_ever(outbox: Outbox):
    reason = {"reason": "PROCESSING_ERROR_REASON_TOO_RECENT_CLICK", "recordCount": "1"}
    of_action = {
        "destination": {"productDestinationId": outbox.destination.example_action},
        "requestStatus": "FAILED",
        "errorInfo": {"errorCounts": [reason]},
    }
    too_soon = {"requestStatusPerDestination": [of_action]}
    outbox.plan("a")
    taken = Answer(200, {}, {"requestId": "r"})
    for attempt in range(1, 9):
        outbox.deliver(transport=Scripted(taken))
        assert (outbox.rows()["a"]["state"], outbox.rows()["a"]["attempts"]) == ("accepted", attempt)
        outbox.now += HALF
        outbox.deliver(transport=Scripted(Answer(200, {}, too_soon)), window_end=NOW - timedelta(days=9))
        if attempt < 8:
            assert outbox.reasons() == {"a": ("retry", "TOO_RECENT_CLICK")}
            assert outbox.rows()["a"]["first_sent_at"] is None, "nothing was applied"
        taken = Answer(200, {}, {"requestId": f"r{attempt}"})
    assert outbox.reasons() == {"a": ("rejected", "TOO_RECENT_CLICK")}


def test_a_platform_that_never_tells_is_given_up(outbox: Outbox):
    outbox.plan("a")
    begun = outbox.now
    outbox.deliver(transport=Scripted(Answer(200, {}, {"requestId": "r"})))
    asked = 0
    while receipt(outbox)[0]["next_ask_at"] is not None:
        outbox.now = receipt(outbox)[0]["next_ask_at"]
        outbox.deliver(transport=Scripted(Answer(404, {}, {"error": {"status": "NOT_FOUND"}})))
        asked += 1
    assert receipt(outbox)[0]["status"] == "not_told"
    assert outbox.now <= begun + LAST_ASKED
    assert asked == receipt(outbox)[0]["asked"] == 9
    assert outbox.states() == {"a": "accepted"}


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_question_that_was_refused_was_not_asked(outbox: Outbox, status: int):
    outbox.plan("a")
    outbox.deliver(transport=Scripted(Answer(200, {}, {"requestId": "r"})))
    (before,) = receipt(outbox)
    outbox.now += HALF
    outbox.deliver(transport=Scripted(Answer(status, {}, {"error": {"status": "X"}})))
    assert receipt(outbox) == [before], "the next delivery asks again, however long it lasts"


def test_a_late_word_moves_only_what_its_request_still_holds(outbox: Outbox, sandbox: Sandbox):
    outbox.plan("a", "b")
    outbox.deliver()
    outbox.change("a", batch_id="another")
    later(outbox, sandbox, HALF)
    outbox.deliver()
    assert outbox.states() == {"a": "accepted", "b": "processed"}


@pytest.mark.parametrize(
    ("kind", "person"), [("403", True), ("401_expired", True), ("500", False), ("drop_after_accept", False)]
)
def test_without_an_access_token_nothing_is_claimed(outbox: Outbox, sandbox: Sandbox, kind: str, person: bool):
    outbox.plan("a")
    sandbox.faults([{"route": "POST /google/token", "kind": kind}])
    before = sandbox.received("google")["requests"]
    report = outbox.deliver()
    assert "access token" in str(report.stopped)
    assert (report.alert is not None and "GOOGLE_REFRESH_TOKEN" in report.alert) == person
    assert outbox.rows()["a"]["attempts"] == 0
    assert sandbox.received("google")["requests"] == before
    for secret in ("GOOGLE_CLIENT_SECRET", "GOOGLE_REFRESH_TOKEN"):
        assert outbox.env[secret] not in str(report.facts())
    sandbox.faults([])
    outbox.deliver()
    assert outbox.states() == {"a": "accepted"}


def test_a_revoked_refresh_token_is_named(outbox: Outbox):
    outbox.plan("a")
    report = outbox.deliver(environment={"GOOGLE_REFRESH_TOKEN": "revoked"})
    assert "GOOGLE_REFRESH_TOKEN" in str(report.alert)
    assert "revoked" not in str(report.facts())
    assert outbox.states() == {"a": "pending"}


def test_a_request_has_no_more_actions_than_the_platform_takes():
    limits = Limits(batch=3, max_age=HALF, dedupe=None, actions=2)
    actions = {"a": "1", "b": "2", "c": "3", "d": "3", "e": "3", "f": "3"}
    assert list(batches("abcdef", actions, {}, limits)) == [["a", "b"], ["c", "d", "e"], ["f"]]
    assert list(batches("", {}, {}, limits)) == []
