"""What is sent, what is held back and why, when the platform answers as it should."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from crm_attribution import mapping
from crm_attribution.ledger import moves
from crm_attribution_tests.delivery.outbox import FEW, NOW, SMALL, WINDOW_END, Outbox, over_kinds, resolved, with_limits
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

Make = Callable[..., Outbox]
Counted = Callable[[Outbox], list[str]]
Requests = Callable[[str], int]


def test_everything_due_is_counted_once_and_a_second_delivery_asks_nothing(
    make: Make, counted: Counted, requests: Requests, platform: str
):
    outbox = make(platform)
    outbox.plan("a", "b", "c", "d", "e")
    before = requests(platform)
    report = outbox.deliver()
    assert report.counts == {"accepted": 5}
    assert report.requests == requests(platform) - before == 3  # batches of two
    assert counted(outbox) == ["a", "b", "c", "d", "e"]
    assert outbox.deliver().requests == 0
    assert requests(platform) - before == 3


def test_the_attempt_log_tells_every_send(make: Make, platform: str):
    outbox = make(platform)
    outbox.plan("a", "b", "c")
    outbox.deliver()
    log = outbox.attempts()
    assert [(row["attempt"], row["outcome"]) for row in log] == [(1, "accepted")] * 3
    assert {row["http_status"] for row in log} <= {200, 201, 204}
    assert len({row["batch_id"] for row in log}) == 2
    assert {row["payload_hash"] for row in log} == {row["payload_hash"] for row in outbox.rows().values()}
    assert all(row["finished"] is not None for row in log)


def test_what_is_sent_is_fixed_at_the_claim(make: Make):
    outbox = make("meta")
    outbox.plan("a")
    outbox.deliver()
    row = outbox.rows()["a"]
    assert (row["person_id"], row["touch_id"]) == (f"person_{outbox.tag}a", f"click:{outbox.tag}a")
    assert row["first_sent_at"] == NOW
    assert row["attempts"] == 1


@pytest.mark.parametrize("platform", FEW)
def test_nothing_that_is_not_ready_by_the_windows_end(make: Make, counted: Counted, platform: str):
    outbox = make(platform)
    outbox.plan("early", ready_at=WINDOW_END - timedelta(microseconds=1))
    outbox.plan("late", ready_at=WINDOW_END)
    outbox.deliver()
    assert outbox.states() == {"early": "accepted", "late": "pending"}
    assert counted(outbox) == ["early"]


WHO = [
    ({"consent": "denied"}, ("suppressed", "consent_denied")),
    ({"consent": "absent"}, ("held", "consent_unknown")),
    ({"suppressed": "erased"}, ("suppressed", "erased")),
    ({"email": None, "click_id": None, "contact_id": None}, ("held", "no_identifier")),
    ({"email": "not an address", "click_id": None, "contact_id": None}, ("held", "no_identifier")),
    (None, ("held", "unresolved")),
]
"""What is known of a person, and the state and reason of the conversion."""


@pytest.mark.parametrize(("platform", "who"), over_kinds(WHO))
def test_what_a_person_is_decides(make: Make, requests: Requests, platform: str, who):
    person, state = who
    if state[1] == "no_identifier" and SMALL[platform].plans_from == "news":
        pytest.skip("alerts are about no person")
    outbox = make(platform)
    outbox.plan("a")
    outbox.people["a"] = None if person is None else resolved(outbox.tag + "a", **person)
    before = requests(platform)
    report = outbox.deliver()
    assert outbox.reasons() == {"a": state}
    assert report.reasons == {f"{state[0]}: {state[1]}": 1}
    assert requests(platform) == before


@pytest.mark.parametrize("platform", FEW)
def test_a_hold_ends_when_its_reason_does(make: Make, counted: Counted, platform: str):
    outbox = make(platform)
    outbox.plan("a")
    outbox.people["a"] = resolved(outbox.tag + "a", consent="absent")
    outbox.deliver()
    assert outbox.reasons() == {"a": ("held", "consent_unknown")}
    other: dict[str, Any] = {"email": None, "click_id": None, "contact_id": None}
    if outbox.destination.plans_from == "news":  # about no person
        other = {"held": "no_identifier"}
    outbox.people["a"] = resolved(outbox.tag + "a", **other)
    outbox.deliver()
    assert outbox.reasons() == {"a": ("held", "no_identifier")}
    del outbox.people["a"]
    outbox.deliver()
    assert outbox.reasons() == {"a": ("accepted", None)}
    assert counted(outbox) == ["a"]


def test_absent_consent_is_sent_where_the_mapping_says_so(make: Make, counted: Counted):
    outbox = make("meta")
    outbox.plan("a")
    outbox.people["a"] = resolved(outbox.tag + "a", consent="absent")
    consent = outbox.rules.consent.model_copy(update={"when_absent": "send"})
    outbox.deliver(rules=outbox.rules.model_copy(update={"consent": consent}))
    assert counted(outbox) == ["a"]


@pytest.mark.parametrize("platform", FEW)
def test_consent_is_asked_again_in_the_transaction_that_claims(make: Make, requests: Requests, platform: str):
    outbox = make(platform)
    outbox.plan("a")
    before = requests(platform)

    def withdraw(point: str) -> None:
        if point == "selected":
            outbox.people["a"] = resolved(outbox.tag + "a", consent="denied")

    outbox.deliver(withdraw)
    assert outbox.reasons() == {"a": ("suppressed", "consent_denied")}
    assert requests(platform) == before


@pytest.mark.parametrize("platform", FEW)
def test_too_old_expires_unsent(make: Make, requests: Requests, platform: str):
    outbox = make(platform)
    outbox.plan("a", expires_at=NOW)
    outbox.plan("b", state="held", reason="possible_duplicate", expires_at=NOW)
    before = requests(platform)
    outbox.deliver()
    assert set(outbox.reasons().values()) == {("expired", "too_old")}
    assert requests(platform) == before


def test_a_purchase_without_value_waits_for_it(make: Make, counted: Counted):
    outbox = make("meta")
    outbox.plan("a", value=None, currency=None)
    outbox.deliver()
    assert outbox.reasons() == {"a": ("held", "no_value")}
    outbox.change("a", value=500, currency="EUR")
    outbox.deliver()
    assert counted(outbox) == ["a"]


@pytest.mark.parametrize("reason", ["before_activation", "imported", "consent_denied"])
def test_suppressed_rows_are_never_looked_at(make: Make, reason: str):
    outbox = make("meta")
    outbox.plan("a", state="suppressed", reason=reason)
    seen: list[int] = []

    def resolve(_, rows):
        seen.append(rows.height)
        return {}

    assert outbox.deliver(resolve=resolve).ended == {}
    assert seen == []
    assert outbox.reasons() == {"a": ("suppressed", reason)}


@pytest.mark.parametrize("platform", FEW)
def test_history_is_released_on_purpose_only(make: Make, counted: Counted, platform: str):
    outbox = make(platform)
    outbox.plan("a", "b", state="suppressed", reason="before_activation")
    outbox.plan("c", state="suppressed", reason="imported")
    with outbox.ledger.writing() as book:
        assert len(moves.release(book, platform, "before_activation", NOW)) == 2
    outbox.deliver()
    assert counted(outbox) == ["a", "b"]


@pytest.mark.parametrize("platform", FEW)
def test_a_possible_duplicate_waits_for_a_person(make: Make, counted: Counted, platform: str):
    outbox = make(platform)
    outbox.plan("a", state="held", reason="possible_duplicate")
    outbox.deliver()
    assert outbox.reasons() == {"a": ("held", "possible_duplicate")}
    with outbox.ledger.writing() as book:
        moves.release(book, platform, "possible_duplicate", NOW)
    outbox.deliver()
    assert counted(outbox) == ["a"]


def test_an_adjustment_no_platform_takes_is_said_so(make: Make, platform: str):
    outbox = make(platform)
    kinds = sorted({"restatement", "retraction"} - outbox.destination.kinds)
    for kind in kinds:
        outbox.plan(kind, kind=kind, revision=1)
    outbox.deliver()
    assert outbox.reasons() == dict.fromkeys(kinds, ("suppressed", "not_adjustable"))


def test_rows_of_another_account_stay_where_they_are(make: Make, requests: Requests):
    outbox = make("meta")
    outbox.plan("a", account="9999")
    before = requests("meta")
    outbox.deliver()
    assert outbox.reasons() == {"a": ("held", "other_account")}
    assert requests("meta") == before


def test_an_event_of_the_future_waits(make: Make):
    outbox = make("meta")
    for name, seconds in (("a", 61), ("now", 60)):
        outbox.plan(name, occurred_at=NOW + timedelta(seconds=seconds), ready_at=NOW - timedelta(hours=1))
    outbox.deliver()
    assert outbox.reasons() == {"a": ("held", "in_future"), "now": ("accepted", None)}, "clocks differ by a minute"


def test_a_stop_comes_between_two_requests_and_leaves_no_answer_unrecorded(make: Make, counted: Counted):
    outbox = make("meta")
    outbox.plan("a", "b", "c", "d")

    def stop(moment: str) -> None:
        if moment == "claimed":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        outbox.deliver(stop)
    assert sorted(outbox.states().values()) == ["accepted", "accepted", "pending", "pending"]
    assert len(counted(outbox)) == 2
    outbox.deliver()
    assert counted(outbox) == ["a", "b", "c", "d"]


def test_switched_off_plans_and_claims_nothing(make: Make, requests: Requests, platform: str):
    outbox = make(platform)
    outbox.plan("a", state="in_flight", batch_id="gone", attempts=1, first_sent_at=NOW, payload_hash="x")
    before = requests(platform)
    report = outbox.deliver(environment={"CRM_ATTRIBUTION_SEND": "off"})
    assert report.skipped == "sending is switched off (CRM_ATTRIBUTION_SEND)"
    assert (report.requests, outbox.states(), requests(platform)) == (0, {"a": "in_flight"}, before)


def test_without_settings_it_says_which_and_where_to_get_them(make: Make):
    report = make("meta").deliver(environment={"META_DATASET_ID": ""})
    assert report.skipped is not None
    assert report.skipped.startswith("not configured: META_DATASET_ID (Meta Events Manager")
    assert report.facts() == {"requests": 0, "skipped": report.skipped}


def test_a_destination_the_mapping_does_not_name_is_skipped(make: Make):
    outbox = make("meta")
    rules = outbox.rules.model_copy(update={"destinations": {}})
    assert outbox.deliver(rules=rules).skipped == "not in the mapping's `destinations`"


@pytest.mark.parametrize("platform", FEW)
def test_a_bulk_edit_is_held_until_a_person_releases_it(make: Make, counted: Counted, platform: str):
    if SMALL[platform].plans_from != "milestones":
        pytest.skip("many clicks or events at once are no bulk edit")
    outbox = make(platform)
    outbox.rules = _guard(outbox.rules, floor=3, factor=2)
    outbox.plan("a", "b", "c", occurred_at=NOW - timedelta(hours=6))
    outbox.plan("q1", "q2", "q3", "q4", "q5", "q6", "q7", occurred_at=NOW - timedelta(hours=5))
    outbox.plan("x", occurred_at=NOW - timedelta(hours=4))
    outbox.deliver()
    assert counted(outbox) == ["a", "b", "c", "x"]
    assert {why for state, why in outbox.reasons().values() if state == "held"} == {"volume_guard"}
    outbox.plan("late", occurred_at=NOW - timedelta(hours=5))
    outbox.deliver()
    assert outbox.reasons()["late"] == ("held", "volume_guard")
    with outbox.ledger.writing() as book:
        assert len(moves.release(book, platform, "volume_guard", NOW)) == 8
    outbox.deliver()
    assert counted(outbox) == sorted(["a", "b", "c", "x", "late", *(f"q{n}" for n in range(1, 8))])


def _guard(rules: mapping.Rules, **changes: int) -> mapping.Rules:
    guard = rules.conversions.volume_guard.model_copy(update=changes)
    return rules.model_copy(update={"conversions": rules.conversions.model_copy(update={"volume_guard": guard})})


def test_large_batches_stay_inside_the_platforms_limit(make: Make, counted: Counted, sandbox: Sandbox):
    outbox = make("meta")
    outbox.destination = with_limits(outbox.destination, batch=7)
    outbox.rules = _guard(outbox.rules, floor=100)
    names = [f"n{number:02d}" for number in range(30)]
    outbox.plan(*names)
    assert outbox.deliver().requests == 5
    assert counted(outbox) == names


def test_the_ledger_holds_neither_address_nor_click(make: Make, platform: str):
    outbox = make(platform)
    outbox.plan("a", "b", "c")
    report = outbox.deliver()
    stored = str(outbox.rows()) + str(outbox.attempts()) + str(report) + str(report.facts())
    for private in ("@example.com", "Click-", outbox.env[outbox.destination.credential]):
        assert private not in stored
