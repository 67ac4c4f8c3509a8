"""The pure rules: volume guard, back-off, recovery, and that no answer leads outside the table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution.delivery.pace import Pace
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.delivery.rules import Decision, Policy, Row, decide, facts, guarded, recovered, settled
from crm_attribution.destinations.base import Limits, Outcome, Resolved, Verdict
from crm_attribution.ledger.transitions import TRANSITIONS
from crm_attribution.mapping import VolumeGuard
from crm_attribution_tests.delivery.outbox import NOW, SMALL, conversion, resolved

HOUR = timedelta(hours=1)
KNOWS_KEYS = Limits(10, timedelta(days=7), timedelta(hours=48))
COUNTS_ALL = Limits(10, timedelta(days=7), None)
POLICY = Policy()
GUARD = VolumeGuard(floor=50, factor=5, days=28)
_EMPTY = dict.fromkeys(
    [
        *("person_id", "contact_id", "touch_id", "reason", "next_attempt_at"),
        *("first_sent_at", "payload_hash", "browser_event_id", "released_at", "replayed_from", "adjusts"),
    ]
)


def row(name: str = "a", **changes) -> Row:
    settings = {"META_DATASET_ID": "1"}
    return replace(Row.of({**_EMPTY, **conversion(SMALL["meta"], settings, name)}), **changes)


def many(count: int, ready_at: datetime, milestone: str = "customer_won", **changes) -> list[Row]:
    return [
        row(f"{milestone}{ready_at:%d%H}{number}", ready_at=ready_at, milestone=milestone, **changes)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("changes", "person", "decision"),
    [
        ({}, {}, ("send", None)),
        ({}, {"held": "record_unreadable"}, ("held", "record_unreadable")),
        ({}, {"suppressed": "erased", "held": "record_unreadable"}, ("suppressed", "erased")),
        ({}, {"consent": "denied", "held": "contact_archived"}, ("suppressed", "consent_denied")),
        ({}, {"consent": "absent"}, ("held", "consent_unknown")),
        ({"account": "2"}, {"held": "contact_archived"}, ("held", "other_account")),
        ({"state": "retry"}, {"held": "contact_archived"}, ("wait", "contact_archived")),
        ({"state": "held", "reason": "possible_duplicate"}, {}, ("held", "possible_duplicate")),
        ({"state": "held", "reason": "no_identifier"}, {}, ("send", None)),
        ({"occurred_at": NOW + timedelta(minutes=2), "expires_at": NOW + HOUR}, {}, ("held", "in_future")),
        ({"kind": "retraction"}, {}, ("suppressed", "not_adjustable")),
    ],
)
def test_whether_a_row_is_sent(changes: dict[str, Any], person: dict[str, Any], decision: tuple[str, str | None]):
    whose = resolved("a", **person)
    assert decide(row(**changes), whose, SMALL["meta"], "1", "withhold", NOW) == Decision(*decision)


def test_a_report_counts_reasons_where_there_are_some():
    report = DeliveryReport("meta")
    report.ended = {"a": ("accepted", None), "b": ("held", "no_value"), "c": ("held", "no_value")}
    assert report.reasons == {"held: no_value": 2}
    assert report.facts() == {"sent": 0, "requests": 0, "accepted": 1, "held": 2, "held: no_value": 2}


@pytest.mark.parametrize(
    ("count", "busiest", "held"), [(50, 0, 0), (51, 0, 51), (100, 20, 0), (101, 20, 101), (51, 10, 51), (50, 1, 0)]
)
def test_the_guard_compares_with_the_busiest_hour(count: int, busiest: int, held: int):
    rows = many(count, NOW)
    quiet = {("customer_won", NOW - 2 * HOUR): min(busiest, 1), ("customer_won", NOW - 4 * HOUR): min(busiest, 1)}
    history = {**quiet, ("customer_won", NOW - 3 * HOUR): busiest} if busiest else {}
    assert len(guarded(rows, history, GUARD)) == held


def test_the_guard_looks_back_so_many_days_and_at_the_same_milestone_only():
    rows = many(60, NOW)
    assert not guarded(rows, {("customer_won", NOW - timedelta(days=28)): 12}, GUARD)
    assert guarded(rows, {("customer_won", NOW - timedelta(days=28) - HOUR): 12}, GUARD)
    assert guarded(rows, {("lead_captured", NOW - HOUR): 12}, GUARD)
    assert guarded(rows, {("customer_won", NOW): 1, ("customer_won", NOW + HOUR): 99}, GUARD)


def test_what_nothing_was_sent_before_is_measured_by_the_floor_alone():
    guard = VolumeGuard(floor=2, factor=5, days=28)
    assert not guarded(many(2, NOW), {}, guard)
    assert len(guarded(many(3, NOW), {}, guard)) == 3


def test_what_is_held_is_no_precedent_and_what_is_released_is():
    first, second = many(60, NOW), many(200, NOW + HOUR)
    assert len(guarded([*first, *second], {}, GUARD)) == 260
    released = [replace(one, released_at=NOW) for one in first]
    assert guarded([*released, *second], {}, GUARD) == set()
    assert len(guarded([*released, *many(301, NOW + HOUR)], {}, GUARD)) == 301


def test_rows_that_come_late_count_with_those_already_sent():
    late = many(20, NOW + timedelta(minutes=59))
    assert not guarded(late, {("customer_won", NOW): 30}, GUARD)
    assert len(guarded(late, {("customer_won", NOW): 31}, GUARD)) == 20


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(1, 8)), max_size=12))
def test_the_guard_never_lets_an_hour_above_its_limit(volumes: list[tuple[str, int, int]]):
    guard = VolumeGuard(floor=5, factor=2, days=1)
    rows = [one for name, hour, count in volumes for one in many(count, NOW + hour * HOUR, name)]
    rows = [replace(one, conversion_id=f"{at}") for at, one in enumerate(rows)]
    held = guarded(rows, {}, guard)
    sent = Counter((one.milestone, one.ready_at) for one in rows if one.conversion_id not in held)
    for (name, when), count in sent.items():
        before = [n for (m, w), n in sent.items() if m == name and when - timedelta(days=1) <= w < when]
        assert count <= max(5, 2 * max(before, default=0))


verdicts = st.sampled_from(get_args(Verdict))
earlier = st.one_of(st.none(), st.integers(0, 60).map(lambda hours: NOW - hours * HOUR))


@given(
    verdicts,
    st.sampled_from([None, "too_old", "x"]),
    earlier,
    st.integers(0, 9),
    st.sampled_from([KNOWS_KEYS, COUNTS_ALL]),
)
def test_every_answer_ends_in_the_table(
    verdict: Verdict, code: str | None, first: datetime | None, attempts: int, limits: Limits
):
    before = row(first_sent_at=first, attempts=attempts, state="retry" if first else "pending")
    after = settled(Outcome("a", verdict, code), before, limits, POLICY, NOW, lambda: 0.5)
    assert after.state in TRANSITIONS["in_flight"]
    if verdict == "uncertain" and limits.dedupe is None:
        assert after.state == "unknown"
    if verdict in ("refused", "throttled", "stopped", "unsent"):
        assert (after.state, after.charged) == ("retry", False)
    waits = after.state == "retry" and verdict in ("transient", "uncertain")
    assert (after.next_attempt_at is not None) == waits, "what failed by itself waits, the rest may be sent at once"
    if after.undone:
        assert first is None
        assert verdict not in ("accepted", "uncertain")
    if after.state == "retry" and verdict == "uncertain":
        assert not after.undone
    if first is not None and verdict != "rejected":
        assert after.state != "rejected"


@given(st.integers(0, 30), st.floats(0, 1, exclude_max=True), st.one_of(st.none(), st.integers(1, 86400)))
def test_back_off_doubles_up_to_its_bound_and_is_never_shorter_than_asked(
    attempts: int, draw: float, asked: int | None
):
    wait = None if asked is None else timedelta(seconds=asked)
    outcome = Outcome("a", "transient", "x", wait)
    after = settled(outcome, row(attempts=attempts), KNOWS_KEYS, Policy(attempts=99), NOW, lambda: draw)
    assert after.next_attempt_at is not None
    delay = after.next_attempt_at - NOW
    ceiling = min(POLICY.longest_wait, POLICY.first_wait * 2**attempts)
    assert delay == max(wait or timedelta(0), ceiling * draw)


def test_the_fingerprint_of_a_key_is_its_content_and_no_identifier():
    """Rows claimed by a release that kept contact ids as text have the same."""
    person = Resolved(consent="granted", person_id="p", contact_id=7, touch_id="t", email="a@b.example", click_id="c")
    known = facts(row(), person)
    changes: dict[str, Any]
    for changes in ({"account": "2"}, {"action": "Lead"}, {"kind": "restatement"}, {"occurred_at": NOW}, {"value": 1},
                    {"value": None}, {"currency": "USD"}, {"conversion_id": "x"}):  # fmt: skip
        assert facts(row(**changes), person) != known, changes
    for changes in ({"person_id": "q"}, {"contact_id": 8}, {"contact_id": None}, {"touch_id": None}):
        assert facts(row(), replace(person, **changes)) != known, changes
    text: Any = "None"
    assert facts(row(), replace(person, contact_id=None)) != facts(row(), replace(person, contact_id=text))
    text = "7"
    for changes in ({"email": "other"}, {"click_id": None}, {"phone": "1"}, {"consent": "absent"}):
        assert facts(row(), replace(person, **changes)) == known
    later = row(state="retry", attempts=3, ready_at=NOW, expires_at=NOW)
    assert facts(later, replace(person, contact_id=text)) == known


def test_pauses_grow_from_throttle_to_throttle_up_to_an_hour_and_more():
    """Five seconds, doubled each time, where the platform names none; at least one second, doubled, where it does."""
    patient = Policy(patience=10.0**9)
    unnamed, named = Pace(patient), Pace(patient)
    assert [unnamed.throttled(None) for _ in range(15)] == [(5.0 * 2 ** min(n, 12), True) for n in range(15)]
    asked = [timedelta(0), timedelta(seconds=7), timedelta(seconds=2), timedelta(seconds=2)]
    assert [named.throttled(each)[0] for each in asked] == [1.0, 7.0, 4.0, 8.0]


def test_a_delivery_waits_as_long_as_its_patience_and_not_a_second_longer():
    pace = Pace(Policy(patience=20.0))
    assert pace.throttled(timedelta(seconds=5)) == (5.0, True)
    assert pace.throttled(timedelta(seconds=16)) == (16.0, False)
    assert pace.throttled(timedelta(seconds=15)) == (15.0, True), "a pause that was not waited for costs nothing"
    assert pace.throttled(timedelta(0)) == (8.0, False)


def test_what_a_delivery_has_patience_for_unless_it_is_told_otherwise():
    assert Policy() == Policy(8, timedelta(minutes=5), timedelta(hours=6), 120.0, 3, 256)


def test_so_many_failures_in_a_row_end_a_delivery():
    pace = Pace(Policy(failures=2))
    assert [pace.failed(), pace.failed()] == [False, True]
    pace.answered()
    assert [pace.failed(), pace.failed()] == [False, True]


def test_a_refused_request_is_halved_unless_the_bad_rows_are_named():
    pace = Pace(Policy(resends=5))
    assert pace.parts(["a", "b", "c"], 3) == [["a"], ["b", "c"]]
    assert pace.parts(["a"], 1) == [["a"]]
    assert pace.parts(["a", "b"], 3) == [["a", "b"]]
    assert pace.parts(["a", "b"], 2) == [["a"], ["b"]]
    assert pace.parts(["a", "b"], 2) == [["a"], ["b"]]
    assert pace.parts(["a", "b"], 2) is None


@pytest.mark.parametrize(
    ("limits", "hours", "attempts", "state"),
    [
        (KNOWS_KEYS, 0, 1, "retry"),
        (KNOWS_KEYS, 46, 1, "retry"),
        (KNOWS_KEYS, 47, 1, "unknown"),  # an hour before the platform forgets
        (KNOWS_KEYS, 1, 8, "unknown"),
        (COUNTS_ALL, 0, 1, "unknown"),
    ],
)
def test_rows_of_a_dead_sender(limits: Limits, hours: int, attempts: int, state: str):
    orphan = row(state="in_flight", first_sent_at=NOW - hours * HOUR, attempts=attempts)
    assert recovered(orphan, limits, POLICY, NOW) == state
