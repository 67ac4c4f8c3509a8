"""The ledger against its table of transitions, and against a model that knows nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from crm_attribution.contracts.conversions import STATES
from crm_attribution.ledger import entries, moves
from crm_attribution.ledger.tables import ATTEMPT, CONVERSION
from crm_attribution.ledger.transitions import WAITING, Claim, IllegalTransition, Move, Settled
from crm_attribution_tests import postgres
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.laws import TIMES

pytestmark = pytest.mark.warehouse

ENV = {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "1"}

RELIABILITY_TABLE = {
    "pending": {"in_flight", "held", "suppressed", "expired"},
    "held": {"pending", "suppressed", "expired"},
    "in_flight": {"accepted", "rejected", "retry", "unknown"},
    "retry": {"in_flight", "rejected", "suppressed", "expired", "unknown"},
    "unknown": {"accepted", "retry", "rejected"},
    "accepted": set(),
    "processed": set(),
    "rejected": set(),
    "not_adjustable": set(),
    "suppressed": set(),
    "expired": set(),
}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgres.server() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Outbox:
    """A ledger in each of the databases."""
    url = postgres.new_database(request.getfixturevalue("postgresql")) if request.param == "postgresql" else ""
    new_warehouse(tmp_path / "w")
    made = Outbox(tmp_path / "w", ENV, SMALL["meta"], url=url, tag="")
    made.ledger.create()
    return made


def test_every_pair_of_states(outbox: Outbox):
    """Each step but staying is taken or refused as the table says; a refused one changes nothing."""
    pairs = [(before, after) for before in STATES for after in STATES if before != after]
    keys: dict[tuple[str, str], str] = {}
    for state in STATES:
        steps = [pair for pair in pairs if pair[0] == state]
        planned = outbox.plan(*(f"{before}-{after}" for before, after in steps), state=state, batch_id="b")
        keys.update(zip(steps, planned, strict=True))
    for (before, after), key in keys.items():
        step = Move(key, after, "because")
        if after in RELIABILITY_TABLE[before]:
            with outbox.ledger.writing() as book:
                assert moves.move(book, [step], NOW) == [key]
        else:
            with pytest.raises(IllegalTransition), outbox.ledger.writing() as book:
                moves.move(book, [step], NOW)
    assert outbox.states() == {
        f"{before}-{after}": after if after in RELIABILITY_TABLE[before] else before for before, after in pairs
    }


def test_a_batch_with_one_illegal_row_moves_nobody(outbox: Outbox):
    good, bad = outbox.plan("good")[0], outbox.plan("bad", state="accepted")[0]
    with pytest.raises(IllegalTransition, match="accepted"), outbox.ledger.writing() as book:
        moves.move(book, [Move(good, "held", "x"), Move(bad, "held", "x")], NOW)
    with pytest.raises(IllegalTransition), outbox.ledger.writing() as book:
        moves.claim(book, "b", [_claim(good), _claim(bad)], NOW)
    assert outbox.states() == {"good": "pending", "bad": "accepted"}
    assert outbox.attempts() == []


@pytest.mark.parametrize("state", STATES)
def test_a_row_stays_for_another_reason_only_while_it_waits(outbox: Outbox, state: str):
    (key,) = outbox.plan("a", state=state, reason="first", batch_id="b", payload_hash="hash")
    with outbox.ledger.writing() as book:
        assert moves.move(book, [Move(key, state, "first")], NOW) == []
        if state in ("pending", "held", "retry"):
            assert moves.move(book, [Move(key, state, "second")], NOW) == [key]
        else:
            with pytest.raises(IllegalTransition):
                moves.move(book, [Move(key, state, "second")], NOW)


def test_a_row_in_flight_is_not_claimed_again(outbox: Outbox):
    (key,) = outbox.plan("a")
    with outbox.ledger.writing() as book:
        moves.claim(book, "first", [_claim(key)], NOW)
    with pytest.raises(IllegalTransition), outbox.ledger.writing() as book:
        moves.claim(book, "second", [_claim(key)], NOW)
    assert outbox.rows()["a"]["batch_id"] == "first"


def test_unknown_keys_are_a_defect(outbox: Outbox):
    with outbox.ledger.writing() as book, pytest.raises(IllegalTransition, match="no such conversion"):
        moves.move(book, [Move("nobody", "held")], NOW)


def test_a_used_key_is_not_claimed_for_another_event(outbox: Outbox):
    (key,) = outbox.plan("a", state="retry", payload_hash="first")
    with outbox.ledger.writing() as book, pytest.raises(IllegalTransition, match="another event"):
        moves.claim(book, "b", [_claim(key, "second")], NOW)


def test_a_row_that_is_there_already_is_not_moved(outbox: Outbox):
    (key,) = outbox.plan("a")
    with outbox.ledger.writing() as book:
        assert moves.move(book, [Move(key, "held", "no_value")], NOW) == [key]
    with outbox.ledger.writing() as book:
        assert moves.move(book, [Move(key, "held", "no_value")], NOW) == []


def test_the_duplicate_window_begins_with_the_first_send_and_a_re_send_does_not_move_it(outbox: Outbox):
    (key,) = outbox.plan("a")
    hours = [NOW + timedelta(hours=hour) for hour in range(5)]
    for place, (state, undone) in enumerate([("retry", False), ("retry", False), ("retry", True)]):
        with outbox.ledger.writing() as book:
            moves.claim(book, f"b{place}", [_claim(key)], hours[place])
            assert moves.leave(book, f"b{place}", [key], hours[place])
            moves.settle(book, f"b{place}", [Settled(key, state, "x", undone=undone)], 500, hours[place])
            found = entries.rows(book, [key])["first_sent_at"].item()
        assert found == (None if undone else hours[0])
    with outbox.ledger.writing() as book:
        moves.claim(book, "b3", [_claim(key)], hours[3])
        assert entries.rows(book, [key])["first_sent_at"].item() is None, "nothing of it has left"
        assert moves.leave(book, "b3", [key], hours[3])
        assert entries.rows(book, [key])["first_sent_at"].item() == hours[3], "nothing had been applied before"


@pytest.mark.parametrize("given_up", ["retry", "unknown"])
@pytest.mark.parametrize("answer", ["accepted", "rejected", "retry", "unknown"])
def test_the_answer_to_an_older_batch_never_settles_a_newer_one(outbox: Outbox, given_up: str, answer: str):
    """Sent, given up, sent again; then the first answer comes, and after it the second."""
    (key,) = outbox.plan("a")
    with outbox.ledger.writing() as book:
        moves.claim(book, "older", [_claim(key)], NOW)
        moves.recover(book, {key: given_up}, NOW)
        if given_up == "unknown":
            moves.reconcile(book, [key], "retry", "nothing_applied", NOW)
        moves.claim(book, "newer", [_claim(key)], NOW + timedelta(hours=1))
        before = entries.rows(book, [key]).row(0, named=True)
        moves.settle(book, "older", [Settled(key, answer, "late", charged=False, undone=True)], 200, NOW)
        assert entries.rows(book, [key]).row(0, named=True) == before
        moves.settle(book, "newer", [Settled(key, "accepted", None)], 200, NOW)
    assert outbox.states() == {"a": "accepted"}
    log = {row["batch_id"]: (row["outcome"], row["code"]) for row in outbox.attempts()}
    assert log == {"older": (answer, "late"), "newer": ("accepted", None)}


def test_rows_come_oldest_fact_first_and_of_one_instant_by_key(outbox: Outbox):
    keys = sorted(outbox.plan(*"abcdef", occurred_at=NOW - timedelta(hours=5)))
    (older,) = outbox.plan("older", occurred_at=NOW - timedelta(hours=6))
    (newer,) = outbox.plan("newer", occurred_at=NOW - timedelta(hours=4))
    with outbox.ledger.writing() as book:
        for found in (entries.rows(book, [newer, *keys, older]), entries.due(book, entries.Scope("meta"), NOW, NOW)):
            assert found["conversion_id"].to_list() == [older, *keys, newer]


@pytest.mark.parametrize("state", ["accepted", "rejected", "retry"])
def test_a_decision_that_it_was_not_applied_begins_again_and_no_other_does(outbox: Outbox, state: str):
    sent = {"attempts": 3, "first_sent_at": NOW, "next_attempt_at": NOW, "payload_hash": "x"}
    (key,) = outbox.plan("a", state="unknown", **sent)
    with outbox.ledger.writing() as book:
        assert moves.reconcile(book, [key], state, "seen", NOW) == [key]
    row = outbox.rows()["a"]
    assert (row["state"], row["reason"]) == (state, "seen")
    again = {"attempts": 0, "first_sent_at": None, "next_attempt_at": None, "released_at": NOW}
    kept = again if state == "retry" else sent
    assert {name: row[name] for name in kept} == kept


def test_what_was_sent_is_counted_by_milestone_and_hour(outbox: Outbox):
    """From a moment on, of one destination, in every state in which bytes may have left."""
    hour = NOW - timedelta(hours=2)
    for state in STATES:
        outbox.plan(state, state=state, ready_at=hour + timedelta(minutes=59))
    outbox.plan("lead", state="accepted", ready_at=hour, milestone="lead_captured")
    outbox.plan("since", state="accepted", ready_at=hour - timedelta(hours=1))
    outbox.plan("before", state="accepted", ready_at=hour - timedelta(hours=1, seconds=1))
    outbox.plan("other", state="accepted", ready_at=hour)
    outbox.change("other", destination="linkedin")
    with outbox.ledger.writing() as book:
        assert entries.sent_by_hour(book, entries.Scope("meta"), hour - timedelta(hours=1)) == {
            ("customer_won", hour): 6,
            ("lead_captured", hour): 1,
            ("customer_won", hour - timedelta(hours=1)): 1,
        }


def test_after_a_snapshot_was_put_back_what_was_due_may_have_been_sent(outbox: Outbox):
    """What only a person lifts is unknown; what was sent, is settled, not due by then or of another platform stays."""
    since, until = NOW - timedelta(hours=9), NOW - timedelta(hours=3)
    due, later = {"ready_at": until - timedelta(seconds=1)}, {"ready_at": until}
    outbox.plan("pending", **due)
    outbox.plan("held", state="held", reason="no_value", **due)
    outbox.plan("guarded", state="held", reason="volume_guard", **due)
    outbox.plan("unsent", state="retry", reason="http_429", **due)
    outbox.plan("sent", state="retry", reason="http_503", first_sent_at=NOW, **due)
    outbox.plan("later", **later)
    outbox.plan("accepted", state="accepted", **due)
    outbox.plan("other", **due)
    outbox.change("other", destination="linkedin")
    before = outbox.rows()
    with outbox.ledger.writing() as book:
        moved = moves.doubt(book, "meta", since, until, NOW)
        assert moves.doubt(book, "meta", since, until, NOW) == []
    after = outbox.rows()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"pending", "held", "guarded", "unsent"}
    assert moved == sorted(after[name]["conversion_id"] for name in changed)
    assert {after[name]["reason"] for name in changed} == {"restored"}
    assert {after[name]["first_sent_at"] for name in changed} == {since}
    assert {name: after[name]["state"] for name in changed} == {
        "pending": "retry", "held": "retry", "unsent": "retry", "guarded": "unknown"}  # fmt: skip


def test_an_answer_counts_as_an_attempt_and_undoes_nothing_unless_it_says_so():
    settled = Settled("a", "retry", None)
    assert (settled.charged, settled.undone, settled.next_attempt_at) == (True, False, None)


def test_of_several_keys_nobody_has_the_first_is_named(outbox: Outbox):
    outbox.plan("a")
    with (
        outbox.ledger.writing() as book,
        pytest.raises(IllegalTransition, match=r"no1: no such conversion \(2 in all\)"),
    ):
        moves.move(book, [Move("no2", "held"), Move("no1", "held")], NOW)


def test_what_only_a_person_lifts(outbox: Outbox):
    outbox.plan("a", state="held", reason="no_value")
    with outbox.ledger.writing() as book:
        assert moves.release(book, "meta", "volume_guard", NOW) == []
        with pytest.raises(IllegalTransition, match="no_value is not a hold to release"):
            moves.release(book, "meta", "no_value", NOW)


@pytest.mark.parametrize("state", [state for state in STATES if state != "unknown"])
def test_only_unknown_rows_are_reconciled(outbox: Outbox, state: str):
    (key,) = outbox.plan("a", state=state)
    with outbox.ledger.writing() as book, pytest.raises(IllegalTransition, match="only unknown"):
        moves.reconcile(book, [key], "accepted", "seen", NOW)


def test_counts(outbox: Outbox):
    outbox.plan("a", "b")
    outbox.plan("c", state="held", reason="no_value")
    with outbox.ledger.writing() as book:
        expected = {("meta", "held", "no_value"): 1, ("meta", "pending", None): 2}
        assert entries.counts(book) == entries.counts(book, "meta") == expected
        assert entries.counts(book, "linkedin") == {}


def _claim(key: str, payload: str = "hash") -> Claim:
    return Claim(key, payload, "p", 7, None)


NAMES = ["a", "b", "c"]


class Operations(RuleBasedStateMachine):
    """Any order of claims, answers, late answers, recoveries and reconciliations, against a dictionary."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        directory = Path(self.folder.name) / "w"
        new_warehouse(directory)
        self.outbox = Outbox(directory, ENV, SMALL["meta"], tag="")
        self.keys = dict(zip(NAMES, self.outbox.plan(*NAMES), strict=True))
        self.states = dict.fromkeys(NAMES, "pending")
        self.holder: dict[str, str] = {}
        self.attempts = dict.fromkeys(NAMES, 0)
        self.first: dict[str, datetime | None] = dict.fromkeys(NAMES)
        self.clock = NOW
        self.left: set[tuple[str, str]] = set()
        self.batches: list[tuple[str, str]] = []

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def _try(self, legal: bool, action: Callable[[], object]) -> None:
        if legal:
            with self.outbox.ledger.writing() as self.book:
                action()
            return
        with pytest.raises(IllegalTransition), self.outbox.ledger.writing() as self.book:
            action()

    @rule(name=st.sampled_from(NAMES))
    def claim(self, name: str) -> None:
        batch = f"batch{len(self.batches)}"
        legal = self.states[name] in ("pending", "retry")
        self.clock += timedelta(minutes=1)
        self._try(legal, lambda: moves.claim(self.book, batch, [_claim(self.keys[name])], self.clock))
        if legal:
            self.states[name], self.holder[name] = "in_flight", batch
            self.attempts[name] += 1
            self.batches.append((batch, name))

    @rule(name=st.sampled_from(NAMES), age=st.sampled_from([0, 0, 0, 1]))
    def leave(self, name: str, age: int) -> None:
        """The newest batch of a row, or one that another has taken over."""
        mine = [batch for batch, row in self.batches if row == name]
        if len(mine) <= age:
            return
        legal = self.states[name] == "in_flight" and self.holder[name] == mine[-1 - age]
        with self.outbox.ledger.writing() as self.book:
            assert moves.leave(self.book, mine[-1 - age], [self.keys[name]], self.clock) == legal
        if legal:
            self.first[name] = self.first[name] or self.clock
            self.left.add((mine[-1 - age], name))

    @rule()
    def take_over_what_never_left(self) -> None:
        with self.outbox.ledger.writing() as self.book:
            flying = entries.in_flight(self.book, entries.Scope("meta"))
            assert {self.outbox.name(row): row["left"] for row in flying.rows(named=True)} == {
                name: (self.holder[name], name) in self.left for name in NAMES if self.states[name] == "in_flight"
            }
            moves.unsent(self.book, flying.filter(~flying["left"])["conversion_id"], NOW)
        for name in NAMES:
            if self.states[name] == "in_flight" and (self.holder[name], name) not in self.left:
                self.states[name] = "retry"
                self.attempts[name] -= 1

    @rule(
        name=st.sampled_from(NAMES),
        age=st.sampled_from([0, 0, 0, 1, 1, 2]),
        state=st.sampled_from(["accepted", "rejected", "retry", "retry", "unknown"]),
        charged=st.booleans(),
        undone=st.booleans(),
    )
    def answer(self, name: str, age: int, state: str, charged: bool, undone: bool) -> None:
        """To the newest batch of a row, or to one before it."""
        mine = [batch for batch, row in self.batches if row == name]
        if len(mine) <= age:
            return
        batch = mine[-1 - age]
        result = Settled(self.keys[name], state, "code", charged=charged, undone=undone)
        with self.outbox.ledger.writing() as self.book:
            moves.settle(self.book, batch, [result], 200, NOW)
        if self.holder[name] == batch and self.states[name] in ("in_flight", "unknown") and self.states[name] != state:
            self.states[name] = state
            self.attempts[name] -= 0 if charged else 1
            self.first[name] = None if undone else self.first[name]

    @rule(name=st.sampled_from(NAMES), state=st.sampled_from(["retry", "unknown"]))
    def recover(self, name: str, state: str) -> None:
        if self.states[name] == "in_flight":
            with self.outbox.ledger.writing() as self.book:
                moves.recover(self.book, {self.keys[name]: state}, NOW)
            self.states[name] = state

    @rule(name=st.sampled_from(NAMES), state=st.sampled_from(STATES))
    def move(self, name: str, state: str) -> None:
        before = self.states[name]
        if state == before and before not in WAITING:
            return
        legal = state == before or state in RELIABILITY_TABLE[before]
        self._try(legal, lambda: moves.move(self.book, [Move(self.keys[name], state, "why")], NOW))
        if legal:
            if state == "in_flight":
                self.holder.setdefault(name, "")
            self.states[name] = state

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        if not hasattr(self, "clock"):
            return
        with self.outbox.ledger.reading() as book:
            found = {self.outbox.name(row): row for row in book.read(CONVERSION).iter_rows(named=True)}
            attempts = book.read(ATTEMPT).height
        assert {name: row["state"] for name, row in found.items()} == self.states
        assert {name: row["attempts"] for name, row in found.items()} == self.attempts
        assert {name: row["first_sent_at"] for name, row in found.items()} == self.first
        assert attempts == len(self.batches)


@pytest.mark.slow
@pytest.mark.hypothesis
def test_any_sequence_of_operations():
    bounds = settings(
        max_examples=25 * TIMES,
        stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Operations, settings=bounds)


def test_due_compares_readiness_with_the_window_and_retries_with_the_clock(outbox: Outbox):
    hour = timedelta(hours=1)
    outbox.plan("pending", "held", ready_at=NOW - hour)
    outbox.change("held", state="held", reason="no_value")
    outbox.plan("later", ready_at=NOW)
    outbox.plan("retry", state="retry", ready_at=NOW - hour, next_attempt_at=NOW + hour)
    outbox.plan("retry_late", state="retry", ready_at=NOW, next_attempt_at=NOW + hour)
    outbox.plan("done", state="accepted", ready_at=NOW - hour)

    def due(now):
        with outbox.ledger.writing() as book:
            return sorted(entries.due(book, entries.Scope("meta"), NOW, now)["milestone_id"])

    assert due(NOW) == ["held", "pending"]
    assert due(NOW + hour) == ["held", "pending", "retry"]
