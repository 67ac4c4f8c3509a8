"""What the ledger answers to each question: every condition at its edge, on rows that differ in it alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from crm_attribution.contracts.conversions import STATES
from crm_attribution.ledger import entries, moves, receipts
from crm_attribution.ledger.entries import Again, Scope
from crm_attribution.ledger.store import micros
from crm_attribution.ledger.tables import ACTIVATION, PAUSE
from crm_attribution.ledger.transitions import Claim, Settled
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox

ENV = {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "1"}
HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)
META = Scope("meta")


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path, ENV, SMALL["meta"], tag="")


def test_a_held_row_is_looked_at_again_for_each_reason_by_itself(outbox: Outbox):
    """Window 10:00 to 12:00, looked at last with the ledger as it was after the first planning."""
    held = {"state": "held", "reason": "no_value", "ready_at": NOW - 5 * HOUR}
    last = NOW - 2 * HOUR
    outbox.plan("quiet", "touched", **held)
    outbox.plan("not yet ready then", **{**held, "ready_at": last})
    outbox.plan("ready just then", **{**held, "ready_at": last - MOMENT})
    outbox.plan("out of time", expires_at=NOW, **held)
    outbox.plan("almost out of time", expires_at=NOW + MOMENT, **held)
    outbox.plan("sent once", first_sent_at=NOW - 9 * HOUR, **held)
    outbox.plan("replayed", replayed_from="accepted", **held)
    for reason in ("in_future", "record_unreadable", "volume_guard"):
        outbox.plan(reason, **{**held, "reason": reason})
    with outbox.ledger.reading() as book:
        serial = book.stand.serial
    outbox.plan("written since", **held)
    outbox.plan("due later", **{**held, "ready_at": NOW})
    outbox.plan("another account", account="2", **held)
    outbox.plan("pending", ready_at=NOW - MOMENT, occurred_at=NOW - 9 * HOUR)
    outbox.plan("retry", state="retry", next_attempt_at=NOW)
    outbox.plan("retry later", state="retry", next_attempt_at=NOW + MOMENT)
    rows = outbox.rows()
    asked = [rows[name]["conversion_id"] for name in ("touched", "due later", "another account", "written since")]
    with outbox.ledger.reading() as book:
        again = Again(asked, serial, last)
        found = entries.due(book, Scope("meta", "1"), NOW, NOW, again)
        everything = entries.due(book, Scope("meta", "1"), NOW, NOW)
        assert entries.held(book, META, NOW) == {
            "no_value": 10, "in_future": 1, "record_unreadable": 1, "volume_guard": 1}  # fmt: skip
    looked_at = {
        *("touched", "not yet ready then", "out of time", "sent once", "replayed", "in_future", "record_unreadable"),
        *("volume_guard", "written since", "pending", "retry"),
    }
    assert sorted(found["milestone_id"]) == sorted(looked_at)
    order = found.select("occurred_at", "conversion_id").rows()
    assert order == sorted(order)
    assert set(everything["milestone_id"]) == {*looked_at, "quiet", "ready just then", "almost out of time"}


def test_rows_are_those_of_one_account_or_of_all_but_some(outbox: Outbox):
    for account in ("1", "2", "3"):
        outbox.plan(account, account=account)
    outbox.plan("other", account="1")
    outbox.change("other", destination="linkedin")
    keys = [row["conversion_id"] for row in outbox.rows().values()]
    with outbox.ledger.reading() as book:
        of = {
            "all": META,
            "one": Scope("meta", "2"),
            "not some": Scope("meta", None, frozenset({"1", "3"})),
            "one among others": Scope("meta", "1", frozenset({"1"})),
        }
        found = {name: sorted(entries.rows(book, keys, scope)["milestone_id"]) for name, scope in of.items()}
        assert found == {"all": ["1", "2", "3"], "one": ["2"], "not some": ["2"], "one among others": ["1"]}
        assert sorted(entries.rows(book, keys)["milestone_id"]) == ["1", "2", "3", "other"]
        assert entries.of_milestones(book, META, ["3", "1", "other"])["milestone_id"].to_list() == [
            row["milestone_id"] for row in sorted(
                (outbox.rows()["1"], outbox.rows()["3"]), key=lambda row: (row["occurred_at"], row["conversion_id"]))
        ]  # fmt: skip


def test_facts_come_in_the_order_of_time(outbox: Outbox):
    for name, hours in (("b", 1), ("c", 3), ("a", 2)):
        outbox.plan(name, occurred_at=NOW - hours * HOUR)
    with outbox.ledger.reading() as book:
        assert entries.of_milestones(book, META, "abc")["milestone_id"].to_list() == ["c", "a", "b"]


def test_what_waits_longest_and_what_nothing_holds(outbox: Outbox):
    """In every state: what has an end waits no more, what a person holds is not stuck."""
    outbox.ledger.create()
    with outbox.ledger.reading() as book:
        assert (entries.oldest_waiting(book, META, NOW), entries.stuck(book, META, NOW)) == (None, 0)
    waiting = ("pending", "held", "in_flight", "retry", "unknown")
    for place, state in enumerate(STATES):
        outbox.plan(state, state=state, account=state, ready_at=NOW - (place + 2) * HOUR, batch_id="b")
    with outbox.ledger.reading() as book:
        for place, state in enumerate(STATES):
            scope, ready = Scope("meta", state), NOW - (place + 2) * HOUR
            assert entries.oldest_waiting(book, scope, NOW) == (ready if state in waiting else None), state
            assert entries.oldest_waiting(book, scope, ready) is None, "due is what was ready before then"
            stuck = int(state in ("pending", "in_flight", "retry"))
            assert entries.stuck(book, scope, ready + MOMENT) == stuck, state
            assert entries.stuck(book, scope, ready) == 0
        assert entries.oldest_waiting(book, META, NOW) == NOW - (STATES.index("unknown") + 2) * HOUR


def test_whether_the_batch_that_left_last_ended_uncertain(outbox: Outbox):
    first, second, other = outbox.plan("first", "second", "other")
    outbox.change("other", account="2")

    def uncertain(account: str = "1") -> bool:
        with outbox.ledger.reading() as book:
            return entries.ended_uncertain(book, Scope("meta", account))

    def send(key: str, batch: str, *steps: str, at: datetime = NOW) -> None:
        with outbox.ledger.writing() as book:
            moves.claim(book, batch, [Claim(key, "hash", "p", 7, None)], at)
            for step in steps:
                if step == "leaves":
                    assert moves.leave(book, batch, [key], at)
                else:
                    moves.settle(book, batch, [Settled(key, step, "code")], 200, at)

    assert not uncertain()
    send(first, "claimed only")
    assert not uncertain(), "nothing has left"
    with outbox.ledger.writing() as book:
        moves.unsent(book, [first], NOW)
    send(first, "out", "leaves", at=NOW + HOUR)
    assert uncertain(), "no answer yet"
    assert not uncertain("2")
    with outbox.ledger.writing() as book:
        moves.settle(book, "out", [Settled(first, "retry", "http_429")], 429, NOW)
    assert not uncertain()
    send(second, "earlier by the clock", "leaves", "unknown", at=NOW)
    assert not uncertain(), "of the batch that left last the end is known"
    send(first, "later", "leaves", at=NOW + 2 * HOUR)
    with outbox.ledger.writing() as book:
        moves.recover(book, {first: "unknown"}, NOW + 2 * HOUR)
    assert uncertain(), "its sender is gone"
    send(other, "another account", "leaves", "accepted", at=NOW + 3 * HOUR)
    assert uncertain()
    with outbox.ledger.writing() as book:
        moves.settle(book, "later", [Settled(first, "accepted", None)], 200, NOW + 3 * HOUR)
    assert not uncertain(), "an answer that came late"


def test_of_two_batches_of_one_instant_the_one_written_later_was_last(outbox: Outbox):
    first, second = outbox.plan("first", "second")
    for key, batch, answer in ((first, "z", "unknown"), (second, "a", "accepted")):
        with outbox.ledger.writing() as book:
            moves.claim(book, batch, [Claim(key, "hash", "p", 7, None)], NOW)
            assert moves.leave(book, batch, [key], NOW)
            moves.settle(book, batch, [Settled(key, answer, None)], 200, NOW)
    with outbox.ledger.reading() as book:
        assert not entries.ended_uncertain(book, META)


def test_what_is_in_flight_says_whether_its_own_batch_has_left(outbox: Outbox):
    out, waits = outbox.plan("out", "waits")
    outbox.plan("no batch", state="in_flight")
    with outbox.ledger.writing() as book:
        for batch, key in (("b1", out), ("b2", waits)):
            moves.claim(book, batch, [Claim(key, "hash", "p", 7, None)], NOW)
        assert moves.leave(book, "b1", [out], NOW)
    with outbox.ledger.reading() as book:
        found = entries.in_flight(book, META)
        assert dict(found.select("milestone_id", "left").iter_rows()) == {
            "out": True,
            "waits": False,
            "no batch": False,
        }


def test_pauses_and_activations_are_of_one_account_and_the_last_counts(outbox: Outbox):
    outbox.ledger.create()
    with outbox.ledger.writing() as book:
        for place, (name, account) in enumerate([("meta", "1"), ("meta", "2"), ("google", "1")]):
            entries.pause(book, name, account, NOW + place * HOUR)
        entries.pause(book, "meta", "1", NOW + 9 * HOUR)
        assert {row[:2]: row[2] for row in book.connection.execute(PAUSE.select())} == {
            ("meta", "1"): micros(NOW + 9 * HOUR), ("meta", "2"): micros(NOW + HOUR),
            ("google", "1"): micros(NOW + 2 * HOUR)}  # fmt: skip
        assert entries.paused_until(book, "meta", "2") == NOW + HOUR
        assert entries.paused_until(book, "google", "2") is None
        rules = [
            ("meta", "won", "Purchase"),
            ("meta", "won", "Lead"),
            ("meta", "lead", "Lead"),
            ("google", "won", "Lead"),
        ]
        for rule in rules:
            entries.activate(book, *rule, "start")
        entries.activate(book, *rules[0], "2026-03-01T00:00:00Z")
        assert entries.activations(book) == sorted(
            [(*rules[0], "2026-03-01T00:00:00Z"), *((*rule, "start") for rule in rules[1:])]
        )
        assert len(book.connection.execute(ACTIVATION.select()).fetchall()) == 4


def test_receipts_are_asked_for_when_their_time_comes_the_oldest_first(outbox: Outbox, monkeypatch: pytest.MonkeyPatch):
    keys = outbox.plan(*"abcd", action="Purchase")
    outbox.plan("e", account="2")
    keys.append(outbox.rows()["e"]["conversion_id"])
    with outbox.ledger.writing() as book:
        for place, key in enumerate(keys):
            moves.claim(book, f"b{place}", [Claim(key, "hash", "p", 7, None)], NOW)
            assert moves.leave(book, f"b{place}", [key], NOW)
            answer = "rejected" if place == 3 else "accepted"
            moves.settle(book, f"b{place}", [Settled(key, answer, None)], 200, NOW)
        for place, hours in enumerate([2, 1, 0, 0, 0]):
            receipts.note(
                book, "meta", f"b{place}", {f"r{place}": 1}, {"late": 2} if place == 1 else {}, NOW + hours * HOUR, HOUR
            )
        receipts.note(book, "meta", "b0", {}, {}, NOW, HOUR)

        def due(at: datetime, account: str = "1") -> list[tuple[str, int, Sequence[tuple[str, str]]]]:
            return [(one.receipt, one.asked, one.rows) for one in receipts.due(book, "meta", account, at)]

        assert due(NOW + HOUR - MOMENT) == []
        assert due(NOW + HOUR) == [("r2", 0, [(keys[2], "Purchase")])], "of a batch that was refused nothing is asked"
        assert [one[0] for one in due(NOW + 9 * HOUR)] == ["r2", "r1", "r0"]
        assert [one[0] for one in due(NOW + 9 * HOUR, "2")] == ["r4"]
        assert receipts.due(book, "google", "1", NOW + 9 * HOUR) == []
        told = [
            receipts.Told("r1", "waiting", NOW + 20 * HOUR, {}, {"odd": 1}),
            receipts.Told("r0", "partly", None, {"b": 2, "a": 1}, {}),
        ]
        receipts.record(book, "meta", told, NOW + 9 * HOUR)
        receipts.record(book, "google", [receipts.Told("r2", "failed", None, {}, {})], NOW + 9 * HOUR)
        assert [one[0] for one in due(NOW + 19 * HOUR)] == ["r2"]
        assert [one[:2] for one in due(NOW + 20 * HOUR)] == [("r2", 0), ("r1", 1)]
        row = {one["receipt"]: one for one in book.read("delivery.receipt").iter_rows(named=True)}
        assert (row["r1"]["warnings"], row["r1"]["errors"], row["r1"]["asked_at"]) == (
            '{"late": 2, "odd": 1}', "{}", NOW + 9 * HOUR)  # fmt: skip
        assert (row["r0"]["status"], row["r0"]["errors"]) == ("partly", '{"a": 1, "b": 2}')
        assert (row["r2"]["status"], row["r2"]["warnings"]) == ("waiting", None)
        monkeypatch.setattr(receipts, "AT_ONCE", 1)
        assert [one[0] for one in due(NOW + 20 * HOUR)] == ["r2"]


def test_what_the_browser_told_is_of_one_account(outbox: Outbox):
    outbox.plan("mine", browser_event_id="x")
    outbox.plan("theirs", browser_event_id="x", account="2")
    outbox.plan("another", browser_event_id="y")
    with outbox.ledger.reading() as book:
        assert entries.browser_events(book, Scope("meta", "1"), ["x", "z"])["milestone_id"].to_list() == ["mine"]
