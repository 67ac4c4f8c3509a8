"""Conversions that are due, to their platform: recover, select, claim, send, settle; the same for every destination.

The order is the promise: what is about to be sent is committed before the first byte leaves, and no connection to the
warehouse is held during HTTP. A process that dies in between leaves rows in flight, and the next delivery takes them
over: they are sent again where the platform recognises our key, and otherwise wait as `unknown` for a person.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import polars as pl

from crm_attribution import stopping
from crm_attribution.clock import Clock, iso
from crm_attribution.conversions import entries, ledger
from crm_attribution.delivery.pace import Pace
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.delivery.rules import Decision, Policy, Row, claim, decide, guarded, hour_of, ready, recovered
from crm_attribution.delivery.rules import settled as settle_row
from crm_attribution.destinations import not_configured, values
from crm_attribution.destinations.base import Destination, Outcome, Ready, Request, Resolved, all_rows
from crm_attribution.errors import Retryable
from crm_attribution.http.answers import Answer
from crm_attribution.http.transport import Budget, Transport
from crm_attribution.mapping import Rules
from crm_attribution.settings import Settings
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

Resolve = Callable[[Session, pl.DataFrame], Mapping[str, Resolved]]
"""Rows of `conversions.conversion` -> what is known about each, by conversion_id. Reads only: it runs inside the
transaction that claims the rows. A row it leaves out is held as `unresolved`."""

Checkpoint = Callable[[str], None]
"""Called with the name of each point a crash is tested at: selecting, selected, claiming, claimed, answered, settling,
settled (…ing: inside the transaction, before its commit)."""


class Sender(Protocol):
    """`Transport`, as far as a delivery needs it."""

    def send_once(
        self, method: str, path: str, *, json: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer: ...


def transport_for(destination: Destination, settings: Settings) -> Transport:
    """HTTP to a destination, within its rate."""
    limit = destination.limits.calls_per_minute
    return Transport(
        settings.value(destination.base_url_setting) or destination.base_url,
        service=destination.name,
        secrets=settings.secrets(),
        budgets={"burst": Budget(limit, 60)} if limit else {},
        credential=destination.credential,
    )


def deliver(
    destination: Destination,
    *,
    settings: Settings,
    rules: Rules,
    warehouse: Warehouse,
    clock: Clock,
    window_end: datetime,
    resolve: Resolve,
    transport: Sender | None = None,
    policy: Policy | None = None,
    rng: random.Random | None = None,
    sleep: Callable[[float], None] = time.sleep,
    checkpoint: Checkpoint = lambda _: None,
) -> DeliveryReport:
    """Send everything of a destination that is ready before `window_end`. Running it again sends nothing twice.

    Args:
        rules: the mapping.
        resolve: reads consent and identifiers of the rows about to be sent.
        transport: HTTP to the platform; by default made from the settings.
        sleep: waits while the platform throttles, at most `policy.patience` seconds in all.
        checkpoint: where tests crash it.

    Raises:
        IllegalTransition: the ledger is not what it should be.
        WarehouseBusy: another process holds the warehouse.
    """
    report = DeliveryReport(destination.name, skipped=_skipped(destination, settings, rules))
    if report.skipped:
        return report
    run = _Run(
        destination=destination,
        rules=rules,
        settings=values(destination, settings),
        warehouse=warehouse,
        clock=clock,
        resolve=resolve,
        transport=transport or transport_for(destination, settings),
        policy=policy or Policy(),
        rng=rng or random.Random(),  # noqa: S311 - jitter, not a secret
        sleep=sleep,
        checkpoint=checkpoint,
        report=report,
    )
    run.deliver(window_end)
    return report


def _skipped(destination: Destination, settings: Settings, rules: Rules) -> str | None:
    if not settings.send:
        return "sending is switched off (CRM_ATTRIBUTION_SEND)"
    if destination.name not in rules.destinations:
        return "not in the mapping's `destinations`"
    return not_configured(destination, settings)


@dataclass
class _Batch:
    batch_id: str
    rows: list[Row]
    ready: list[Ready] = field(repr=False)
    request: Request = field(repr=False)


@dataclass
class _Answered:
    """A batch, one outcome per row in its order, and the HTTP status where there was one."""

    batch: _Batch
    outcomes: list[Outcome]
    status: int | None


@dataclass
class _Run:
    """One delivery to one account."""

    destination: Destination
    rules: Rules
    settings: Mapping[str, str] = field(repr=False)
    warehouse: Warehouse
    clock: Clock
    resolve: Resolve
    transport: Sender
    policy: Policy
    rng: random.Random
    sleep: Callable[[float], None]
    checkpoint: Checkpoint
    report: DeliveryReport
    nap: float = 0.0

    def __post_init__(self) -> None:
        self.account = self.destination.account(self.settings)
        self.queue: deque[list[str]] = deque()
        self.pace = Pace(self.policy)

    def deliver(self, window_end: datetime) -> None:
        """One request at a time; between two of them the warehouse is open once, for the answer and the next claim."""
        with self.warehouse.session() as session:
            self._select(session, window_end)
        answered: _Answered | None = None
        with stopping.held_back() as safe_point:
            while True:
                with self.warehouse.session() as session:
                    if answered is not None:
                        self._settle(session, answered)
                        self._react(session, answered)
                    safe_point()  # nothing is in flight: a stop leaves no answer unrecorded
                    batch = None if self.nap else self._next(session)
                if self.nap:
                    self.sleep(self.nap)
                    answered, self.nap = None, 0.0
                elif batch is None:
                    return
                else:
                    self.checkpoint("claimed")
                    answered = self._send(batch)

    def _select(self, session: Session, window_end: datetime) -> None:
        """Take over what a dead sender left, put every due row into its state, and queue those to be sent."""
        now, name = self.clock.now(), self.destination.name
        with session.transaction():
            if (gap := session.state.restored) is not None:
                ledger.doubt(session, name, *gap, now)
            orphans = _rows(entries.in_flight(session, name))
            states = {row.conversion_id: recovered(row, self.destination.limits, self.policy, now) for row in orphans}
            ledger.recover(session, states, now)
            self._ended((key, state, "interrupted") for key, state in states.items())
            until = session.state.pause[name, self.account]
            if until is not None and now < until:
                self.report.paused_until = until
                self.report.stopped = f"the platform asked for a pause until {iso(until)}"
                return
            due = entries.due(session, name, window_end, now)
            decisions = self._decide(session, due, now)
            self._guard(session, _rows(due), decisions)
            self._place(session, _rows(due), decisions, now)
            self.checkpoint("selecting")
        self.checkpoint("selected")
        sendable = [key for key in due["conversion_id"] if decisions[key].to == "send"]
        size = self.destination.limits.batch
        self.queue.extend(sendable[start : start + size] for start in range(0, len(sendable), size))

    def _next(self, session: Session) -> _Batch | None:
        """The next batch that has rows left, claimed."""
        while self.queue and not self.report.stopped:
            batch = self._claim(session, self.queue.popleft())
            if batch is not None:
                return batch
        return None

    def _decide(
        self, session: Session, due: pl.DataFrame, now: datetime, resolved: Mapping[str, Resolved] | None = None
    ) -> dict[str, Decision]:
        if resolved is None:
            resolved = self.resolve(session, due) if due.height else {}
        absent = self.rules.consent.when_absent
        return {
            row.conversion_id: decide(row, resolved.get(row.conversion_id), self.destination, self.account, absent, now)
            for row in _rows(due)
        }

    def _guard(self, session: Session, due: Sequence[Row], decisions: dict[str, Decision]) -> None:
        wanted = (Decision("send"), Decision("held", "volume_guard"))
        fresh = [row for row in due if row.state != "retry" and decisions[row.conversion_id] in wanted]
        if not fresh:
            return
        guard = self.rules.conversions.volume_guard
        since = hour_of(min(row.ready_at for row in fresh)) - timedelta(days=guard.days)
        for key in guarded(fresh, entries.sent_by_hour(session, self.destination.name, since), guard):
            decisions[key] = Decision("held", "volume_guard")

    def _place(self, session: Session, due: Sequence[Row], decisions: Mapping[str, Decision], now: datetime) -> None:
        """Record what is not sent and why; a row that is no longer held goes back to pending."""
        moves = []
        for row in due:
            decision = decisions[row.conversion_id]
            if decision.to == "send":
                if row.state == "held":
                    moves.append(ledger.Move(row.conversion_id, "pending"))
                continue
            state = row.state if decision.to == "wait" else decision.to
            moves.append(ledger.Move(row.conversion_id, state, decision.reason))
        ledger.move(session, moves, now)
        self._ended((move.conversion_id, move.state, move.reason) for move in moves)

    def _claim(self, session: Session, keys: Sequence[str]) -> _Batch | None:
        """Commit to sending those that may be sent still; consent and identifiers are those of this moment."""
        now, batch_id = self.clock.now(), secrets.token_hex(16)
        with session.transaction():
            frame = entries.rows(session, keys)
            free = [row for row in _rows(frame) if _claimable(row, now)]
            frame = frame.filter(pl.col("conversion_id").is_in([row.conversion_id for row in free]))
            resolved = self.resolve(session, frame) if free else {}
            decisions = self._decide(session, frame, now, resolved)
            self._place(session, free, decisions, now)
            batch = [row for row in free if decisions[row.conversion_id].to == "send"]
            if not batch:
                return None
            events = [ready(row, resolved[row.conversion_id]) for row in batch]
            options = self.rules.destinations[self.destination.name].options
            request = self.destination.build(events, self.settings, options)
            self.report.left_out.update(name for event in events for name in self.destination.left_out(event))
            ledger.claim(session, batch_id, [claim(row, resolved[row.conversion_id]) for row in batch], now)
            self.checkpoint("claiming")
        return _Batch(batch_id, batch, events, request)

    def _send(self, batch: _Batch) -> _Answered:
        """One request, outside any transaction. Every row gets an outcome in every case."""
        self.report.requests += 1
        request = batch.request
        try:
            answer = self.transport.send_once(request.method, request.path, json=request.json, headers=request.headers)
        except Retryable as error:
            if error.sent:
                return _Answered(batch, all_rows(batch.ready, "uncertain", "no_answer"), None)
            return _Answered(batch, all_rows(batch.ready, "unsent", "no_connection"), None)
        self.checkpoint("answered")
        read = {outcome.conversion_id: outcome for outcome in self.destination.read(answer, batch.ready)}
        missing = {row.conversion_id: Outcome(row.conversion_id, "uncertain", "no_result") for row in batch.rows}
        return _Answered(batch, [read.get(key, outcome) for key, outcome in missing.items()], answer.status)

    def _settle(self, session: Session, answered: _Answered) -> None:
        now, limits, rows = self.clock.now(), self.destination.limits, answered.batch.rows
        results = [
            settle_row(outcome, row, limits, self.policy, now, self.rng.random)
            for outcome, row in zip(answered.outcomes, rows, strict=True)
        ]
        with session.transaction():
            ledger.settle(session, answered.batch.batch_id, results, answered.status, now)
            self.checkpoint("settling")
        self._ended((result.conversion_id, result.state, result.code) for result in results)
        self.checkpoint("settled")

    def _react(self, session: Session, answered: _Answered) -> None:
        """What an answer means for the rest of this delivery."""
        verdicts = {outcome.verdict for outcome in answered.outcomes}
        first = answered.outcomes[0]
        keys = [row.conversion_id for row in answered.batch.rows]
        if "stopped" in verdicts:
            self.report.stopped = f"the platform refused the account ({first.code})"
            self.report.alert = f"check {self.destination.credential} and its permissions ({first.code})"
        elif "throttled" in verdicts:
            self._throttled(session, keys, first.retry_after)
        elif "refused" in verdicts:
            self._part([o.conversion_id for o in answered.outcomes if o.verdict == "refused"], len(keys))
        elif verdicts <= {"uncertain", "unsent", "transient"}:
            if self.pace.failed():
                self.report.stopped = f"{self.pace.failures} requests in a row failed ({first.code})"
            return
        self.pace.answered()

    def _throttled(self, session: Session, keys: list[str], asked: timedelta | None) -> None:
        """Wait and send the same rows again, or leave the account alone until the pause is over."""
        pause, waits = self.pace.throttled(asked)
        if waits:
            self.nap = pause
            self.queue.appendleft(keys)
            return
        until = self.clock.now() + timedelta(seconds=pause)
        with session.transaction():
            session.state.pause[self.destination.name, self.account] = until
        self.report.paused_until = until
        self.report.stopped = f"the platform asked for a pause until {iso(until)}"

    def _part(self, keys: list[str], sent: int) -> None:
        parts = self.pace.parts(keys, sent)
        if parts is None:
            self.report.stopped = f"{self.policy.resends} refused requests: the rest waits for the next delivery"
        else:
            self.queue.extendleft(reversed(parts))

    def _ended(self, rows: Iterable[tuple[str, str, str | None]]) -> None:
        self.report.ended.update({key: (state, reason) for key, state, reason in rows})


def _rows(frame: pl.DataFrame) -> list[Row]:
    return [Row.of(record) for record in frame.iter_rows(named=True)]


def _claimable(row: Row, now: datetime) -> bool:
    """Whether the row was not taken since it was selected."""
    if row.state == "retry":
        return row.next_attempt_at is None or row.next_attempt_at <= now
    return row.state == "pending"
