"""Before a request: what a dead sender left is taken over, each due row gets its state, and batches are claimed."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crm_attribution.clock import iso
from crm_attribution.delivery.context import Batch, Delivery, Resolve, rows_of
from crm_attribution.delivery.looking import Looking
from crm_attribution.delivery.rules import (
    Decision,
    Row,
    batches,
    browser_ids,
    claim,
    decide,
    guarded,
    hour_of,
    ready,
    recovered,
)
from crm_attribution.destinations.base import Resolved
from crm_attribution.ledger import entries, moves
from crm_attribution.ledger.entries import Scope
from crm_attribution.ledger.store import Book, Ledger
from crm_attribution.ledger.transitions import Move
from crm_attribution.warehouse.session import Session


@dataclass
class Claiming:
    """Selects and claims. `resolve` reads consent and identifiers of the rows about to be sent, in the warehouse;
    `looking` tells which held rows are looked at again, without it all are."""

    delivery: Delivery
    ledger: Ledger
    resolve: Resolve
    looking: Looking | None = None

    def select(self, session: Session, window_end: datetime) -> None:
        """Take over what a dead sender left, put every due row into its state, and queue those to be sent."""
        now, name, scope = self.delivery.clock.now(), self.delivery.destination.name, self.delivery.scope
        with self.ledger.writing() as book:
            if book.lost is not None:
                moves.doubt(book, name, *book.lost, now)
            self._take_over(book, now)
            if self.delivery.destination.limits.dedupe is None:
                self.delivery.probing = entries.ended_uncertain(book, scope)
            until = entries.paused_until(book, name, self.delivery.account)
            if until is not None and now < until:
                self.delivery.report.paused_until = until
                self.delivery.report.stopped = f"the platform asked for a pause until {iso(until)}"
                return
            again = None if self.looking is None else self.looking.again(session, book.stand, window_end)
            resting = entries.held(book, scope, window_end)
            due = entries.due(book, scope, window_end, now, again)
            decisions = self._decide(session, due, now)
            self._guard(book, rows_of(due), decisions)
            self._place(book, rows_of(due), decisions, now)
            stand = book.stand
            self.delivery.checkpoint("selecting")
        if self.looking is not None:
            self.looking.looked(session, stand, window_end)
        self.delivery.checkpoint("selected")
        looked = Counter(due.filter(pl.col("state") == "held")["reason"])
        self.delivery.report.resting = Counter(resting) - looked
        sendable = [key for key in due["conversion_id"] if decisions[key].to == "send"]
        actions = {row.conversion_id: row.action for row in rows_of(due)}
        kinds = {row.conversion_id: row.kind for row in rows_of(due)}
        self.delivery.queue.extend(batches(sendable, actions, kinds, self.delivery.limits))
        self.delivery.report.least = len(self.delivery.queue)

    def next(self, session: Session) -> Batch | None:
        """The next batch that has rows left, claimed."""
        while self.delivery.queue and not self.delivery.report.stopped:
            keys = self.delivery.queue.popleft()
            if self.delivery.probing and len(keys) > 1:
                self.delivery.queue.appendleft(keys[1:])
                keys = keys[:1]
            batch = self._claim(session, keys)
            if batch is not None:
                self.delivery.checkpoint("claimed")
                return batch
        return None

    def leave(self, batch: Batch) -> bool:
        """Commit that bytes of a claimed batch are about to leave, in the ledger and in its mark; from here on it may
        have been sent. False where another delivery has taken it over: then it must not be."""
        keys = [row.conversion_id for row in batch.rows]
        with self.ledger.writing() as book:
            left = moves.leave(book, batch.batch_id, keys, self.delivery.clock.now())
            stand = book.stand
            self.delivery.checkpoint("leaving")
        if left:
            self.ledger.mark.raise_to(stand)
            self.delivery.checkpoint("left")
        return left

    def _take_over(self, book: Book, now: datetime) -> None:
        """Rows of a sender that is gone: those of which nothing has left are sent as if never claimed."""
        orphans = entries.in_flight(book, self.delivery.scope)
        kept = orphans.filter(~pl.col("left"))["conversion_id"]
        moves.unsent(book, kept, now)
        limits, policy = self.delivery.destination.limits, self.delivery.policy
        left = rows_of(orphans.filter("left"))
        states = {row.conversion_id: recovered(row, limits, policy, now) for row in left}
        moves.recover(book, states, now)
        self.delivery.ended((key, "retry", "never_left") for key in kept)
        self.delivery.ended((key, state, "interrupted") for key, state in states.items())

    def _decide(
        self, session: Session, due: pl.DataFrame, now: datetime, resolved: Mapping[str, Resolved] | None = None
    ) -> dict[str, Decision]:
        if resolved is None:
            resolved = self.resolve(session, due) if due.height else {}
        absent = self.delivery.rules.consent.when_absent
        return {
            row.conversion_id: decide(
                row, resolved.get(row.conversion_id), self.delivery.destination, self.delivery.account, absent, now
            )
            for row in rows_of(due)
        }

    def _guard(self, book: Book, due: Sequence[Row], decisions: dict[str, Decision]) -> None:
        wanted = (Decision("send"), Decision("held", "volume_guard"))
        fresh = [row for row in due if row.state != "retry" and decisions[row.conversion_id] in wanted]
        if not fresh or self.delivery.destination.plans_from != "milestones":  # many clicks at once are no bulk edit
            return
        guard = self.delivery.rules.conversions.volume_guard
        since = hour_of(min(row.ready_at for row in fresh)) - timedelta(days=guard.days)
        for key in guarded(fresh, entries.sent_by_hour(book, self.delivery.scope, since), guard):
            decisions[key] = Decision("held", "volume_guard")

    def _place(self, book: Book, due: Sequence[Row], decisions: Mapping[str, Decision], now: datetime) -> None:
        """Record what is not sent and why; a row that is no longer held goes back to pending."""
        placed = []
        for row in due:
            decision = decisions[row.conversion_id]
            if decision.to == "send":
                if row.state == "held":
                    placed.append(Move(row.conversion_id, "pending"))
                continue
            state = row.state if decision.to == "wait" else decision.to
            placed.append(Move(row.conversion_id, state, decision.reason))
        moves.move(book, placed, now)
        self.delivery.ended((move.conversion_id, move.state, move.reason) for move in placed)

    def _claim(self, session: Session, keys: Sequence[str]) -> Batch | None:
        """Commit to sending those that may be sent still; consent and identifiers are those of this moment."""
        now, batch_id = self.delivery.clock.now(), secrets.token_hex(16)
        with self.ledger.writing() as book:
            frame = entries.rows(book, keys)
            free = [row for row in rows_of(frame) if _claimable(row, now)]
            frame = frame.filter(pl.col("conversion_id").is_in([row.conversion_id for row in free]))
            resolved = self.resolve(session, frame) if free else {}
            decisions = self._decide(session, frame, now, resolved)
            self._place(book, free, decisions, now)
            batch = [row for row in free if decisions[row.conversion_id].to == "send"]
            if not batch:
                return None
            told = self._told_by_browser(book, batch, resolved)
            events = [ready(row, resolved[row.conversion_id], told.get(row.conversion_id)) for row in batch]
            request = self.delivery.request(events)
            self.delivery.report.left_out.update(
                name for event in events for name in self.delivery.destination.left_out(event)
            )
            claims = [claim(row, resolved[row.conversion_id], told.get(row.conversion_id)) for row in batch]
            moves.claim(book, batch_id, claims, now)
            self.delivery.checkpoint("claiming")
        return Batch(batch_id, batch, events, request)

    def _told_by_browser(self, book: Book, batch: Sequence[Row], resolved: Mapping[str, Resolved]) -> dict[str, str]:
        """The ids of the browser's that conversions are sent under; one that another conversion has is not taken."""
        scope = self.delivery.destination.browser_events
        wanted = {one.browser_event_id for row in batch if (one := resolved[row.conversion_id]).browser_event_id}
        wanted |= {row.browser_event_id for row in batch if row.browser_event_id}
        if scope is None or not wanted:
            return {}
        mine = Scope(self.delivery.destination.name, self.delivery.account)
        sent = entries.browser_events(book, mine, filter(None, wanted))
        taken = {(row.action, str(row.browser_event_id)): row.conversion_id for row in rows_of(sent)}
        return browser_ids(batch, resolved, taken, scope)


def _claimable(row: Row, now: datetime) -> bool:
    """Whether the row was not taken since it was selected."""
    if row.state == "retry":
        return row.next_attempt_at is None or row.next_attempt_at <= now
    return row.state == "pending"
