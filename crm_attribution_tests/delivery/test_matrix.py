"""The crash matrix finds nothing, and finds what is planted: each protection taken away in turn shows."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.ledger import moves
from crm_attribution.ledger.store import Book, Ledger, LedgerFailed
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.ledger.transitions import Settled
from crm_attribution_tests.conversions import test_ledger
from crm_attribution_tests.crash_matrix import FACTS, judged, matrix
from crm_attribution_tests.delivery import outbox as outboxes
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox, over_kinds
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = [pytest.mark.sandbox, pytest.mark.crash]

Make = Callable[..., Outbox]
Counted = Callable[[Outbox], list[str]]
NOTHING = {"lost": 0, "doubled": 0, "ghost": 0, "unrecorded": 0}


@pytest.mark.slow
def test_random_kills_lose_and_double_nothing():
    kills = 0
    with matrix(20260310) as playing:
        for number in range(2 * TIMES):
            for name in SMALL:
                killed, wrong = playing.round(name, number)
                assert dict(wrong) == NOTHING, (name, number)
                kills += killed
    assert kills > 10


def test_the_matrix_notices_a_key_that_is_not_unique(make: Make, counted: Counted, monkeypatch: pytest.MonkeyPatch):
    outbox = make("linkedin")
    for _ in range(2):  # planned again, as after a crash between the ledger's commit and the warehouse's
        monkeypatch.setattr(outboxes, "delivery_key", lambda *_: secrets.token_hex(32))
        outbox.plan(*FACTS)
        outbox.deliver()
    assert judged(outbox, counted(outbox))["doubled"] == len(FACTS)


def test_the_matrix_notices_that_planning_does_not_ignore_what_is_there(
    make: Make, counted: Counted, monkeypatch: pytest.MonkeyPatch
):
    def insert(self: Book, table: str, rows: pl.DataFrame) -> pl.DataFrame:
        keys: list[str] = rows["conversion_id"].to_list() if table == CONVERSION else []
        new = {"state": "pending", "payload_hash": None, "first_sent_at": None, "batch_id": None, "attempts": 0}
        self.update(CONVERSION, [{"conversion_id": key, **new} for key in keys])
        return real(self, table, rows)

    outbox, real = make("linkedin"), Book.insert
    outbox.plan(*FACTS)
    outbox.deliver()
    outbox.plan(*FACTS)
    outbox.deliver()
    assert dict(judged(outbox, counted(outbox))) == NOTHING
    monkeypatch.setattr(Book, "insert", insert)
    outbox.plan(*FACTS)
    outbox.deliver()
    assert judged(outbox, counted(outbox))["doubled"] == len(FACTS)


def test_the_ledger_s_tests_notice_that_an_answer_is_not_guarded_by_its_batch(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    def settle(book: Book, batch: str, results: Sequence[Settled], status: int | None, now: datetime) -> None:
        book.update(CONVERSION, [{"conversion_id": one.conversion_id, "batch_id": batch} for one in results])
        real(book, batch, results, status, now)

    real = moves.settle
    monkeypatch.setattr(moves, "settle", settle)
    with pytest.raises(AssertionError):
        test_ledger.test_the_answer_to_an_older_batch_never_settles_a_newer_one(
            make("meta", tag=""), "retry", "accepted"
        )


class Full(Ledger):
    """A ledger whose disk is full at the n-th transaction that writes, when it ends."""

    def __init__(self, outbox: Outbox, at: int) -> None:
        super().__init__(outbox.directory)
        self.left = at

    @contextmanager
    def writing(self) -> Iterator[Book]:
        with super().writing() as book:
            yield book
            self.left -= 1
            if self.left == 0:
                raise LedgerFailed("database or disk is full")


@pytest.mark.parametrize(("platform", "at"), over_kinds(range(1, 14)))
def test_a_full_disk_at_any_transaction_stops_cleanly_and_goes_on_when_there_is_space(
    make: Make, counted: Counted, platform: str, at: int
):
    outbox = make(platform)
    outbox.plan(*FACTS)
    full = Full(outbox, at)
    try:
        outbox.deliver(ledger=full)
        assert full.left > 0
    except LedgerFailed:
        assert full.left <= 0
    outbox.now = NOW + timedelta(hours=1)
    outbox.deliver()
    assert outbox.deliver().requests == 0
    assert dict(judged(outbox, counted(outbox))) == NOTHING
    told = outbox.states()
    if not outbox.forgets:
        assert set(told.values()) == {"accepted"}
    else:  # what had left when the disk was full at recording its answer
        assert list(told.values()).count("unknown") <= outbox.destination.limits.batch


@pytest.mark.parametrize(("platform", "jump"), over_kinds([timedelta(hours=hours) for hours in (-24, -1, 1, 24)]))
def test_a_clock_that_jumps_between_batches_changes_no_key_and_loses_nothing(
    make: Make, counted: Counted, sandbox: Sandbox, platform: str, jump: timedelta
):
    outbox = make(platform)
    keys = outbox.plan(*FACTS)
    moments = iter([NOW, NOW + timedelta(seconds=1), NOW + jump])

    class Jumping:
        is_wall = False
        last = NOW

        def now(self) -> datetime:
            self.last = next(moments, self.last)
            return self.last

    outbox.deliver(clock=Jumping())
    outbox.now = NOW + timedelta(hours=2)
    outbox.deliver()
    outbox.deliver()
    assert dict(judged(outbox, counted(outbox))) == NOTHING
    assert sorted(row["conversion_id"] for row in outbox.rows().values()) == sorted(keys)
    assert set(outbox.states().values()) <= {"accepted", "unknown"}


def test_a_token_that_is_revoked_between_batches_stops_the_account_and_loses_nothing(
    make: Make, counted: Counted, sandbox: Sandbox, platform: str
):
    outbox = make(platform)
    outbox.plan(*FACTS)
    upload: dict[str, Any] = {"route": f"POST {outbox.path}/*", "kind": "401_expired"}

    def revoke(point: str) -> None:
        if point == "settled" and "accepted" in outbox.states().values():
            sandbox.faults([upload])

    report = outbox.deliver(revoke)
    assert report.alert is not None
    sandbox.faults([])
    told = list(outbox.states().values())
    assert (told.count("accepted"), told.count("retry"), told.count("pending")) == (2, 2, 1)
    outbox.now = NOW + timedelta(hours=1)
    outbox.deliver()
    assert dict(judged(outbox, counted(outbox))) == NOTHING
    assert set(outbox.states().values()) == {"accepted"}
