"""A request, and what its answer means: for each of its rows, and for the rest of the delivery."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from crm_attribution.clock import iso
from crm_attribution.delivery.context import Batch, Delivery
from crm_attribution.delivery.pace import Pace
from crm_attribution.delivery.processing import note_receipts
from crm_attribution.delivery.rules import settled as settle_row
from crm_attribution.destinations.base import Outcome, ProcessesLater, all_rows, date_of
from crm_attribution.errors import Retryable
from crm_attribution.http.answers import Answer
from crm_attribution.ledger import entries, moves
from crm_attribution.ledger.store import Book, Ledger

CLOCK_WARNS, CLOCK_STOPS = 60.0, 300.0
"""Seconds between our clock and the platform's."""


class Sender(Protocol):
    """`Transport`, as far as a delivery needs it."""

    def send_once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer: ...


@dataclass
class Answered:
    """A batch, one outcome per row in its order, the HTTP status where there was one, and what the answer warned about:
    conversions by reason."""

    batch: Batch
    outcomes: list[Outcome]
    status: int | None
    warned: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Answering:
    """Sends a batch and settles it. `rng` spreads the retries."""

    delivery: Delivery
    transport: Sender
    rng: random.Random

    def __post_init__(self) -> None:
        self.pace = Pace(self.delivery.policy)

    def send(self, batch: Batch) -> Answered:
        """One request, outside any transaction. Every row gets an outcome in every case."""
        self.delivery.report.requests += 1
        self.delivery.report.sent += len(batch.rows)
        request, headers = batch.request, self.delivery.headers(batch.request)
        try:
            answer = self.transport.send_once(request.method, request.path, json=request.json, headers=headers)
        except Retryable as error:
            if error.sent:
                return Answered(batch, all_rows(batch.ready, "uncertain", "no_answer"), None)
            return Answered(batch, all_rows(batch.ready, "unsent", "no_connection"), None)
        self.delivery.checkpoint("answered")
        self._compare_clocks(answer)
        read = {outcome.conversion_id: outcome for outcome in self._read(answer, batch)}
        missing = {row.conversion_id: Outcome(row.conversion_id, "uncertain", "no_result") for row in batch.rows}
        outcomes = [read.get(key, outcome) for key, outcome in missing.items()]
        destination = self.delivery.destination
        warned = destination.warned(answer) if isinstance(destination, ProcessesLater) else {}
        return Answered(batch, outcomes, answer.status, warned)

    def _read(self, answer: Answer, batch: Batch) -> list[Outcome]:
        destination = self.delivery.destination
        outcomes = destination.read(answer, batch.ready)
        proof_is_needed = destination.limits.dedupe is None and 400 <= answer.status < 500
        if proof_is_needed and not destination.is_own_refusal(answer):
            return all_rows(batch.ready, "uncertain", f"http_{answer.status}_not_its_own")
        return outcomes

    def _compare_clocks(self, answer: Answer) -> None:
        """The platform judges ages and duplicate windows by its own clock, so ours must go with it."""
        date = date_of(answer)
        if date is None or not self.delivery.clock.is_wall:
            return
        apart = abs((self.delivery.clock.now() - date).total_seconds())
        if apart > CLOCK_STOPS:
            self.delivery.report.stopped = f"our clock and the platform's are {apart:.0f} s apart"
            self.delivery.report.alert = f"set the clock of this machine: {self.delivery.report.stopped}"
        elif apart > CLOCK_WARNS:
            self.delivery.report.warning = f"our clock and the platform's are {apart:.0f} s apart"

    def record(self, ledger: Ledger, answered: Answered) -> None:
        """Settle the rows of a batch in one transaction, then do what the answer means for the rest."""
        with ledger.writing() as book:
            self._settle(book, answered)
        self.delivery.checkpoint("settled")
        with ledger.writing() as book:
            self._react(book, answered)

    def _settle(self, book: Book, answered: Answered) -> None:
        now, limits, rows = self.delivery.clock.now(), self.delivery.destination.limits, answered.batch.rows
        results = [
            settle_row(outcome, row, limits, self.delivery.policy, now, self.rng.random)
            for outcome, row in zip(answered.outcomes, rows, strict=True)
        ]
        moves.settle(book, answered.batch.batch_id, results, answered.status, now)
        batch = answered.batch.batch_id
        note_receipts(book, self.delivery.destination, batch, answered.outcomes, answered.warned, now)
        self.delivery.checkpoint("settling")
        self.delivery.ended((result.conversion_id, result.state, result.code) for result in results)
        for row, result in zip(rows, results, strict=True):
            if result.state == "accepted" and row.kind == "conversion" and row.value is not None and row.currency:
                self.delivery.report.accepted[row.currency] += row.value

    def _react(self, book: Book, answered: Answered) -> None:
        """What an answer means for the rest of this delivery."""
        verdicts = {outcome.verdict for outcome in answered.outcomes}
        self.delivery.probing = "uncertain" in verdicts and self.delivery.destination.limits.dedupe is None
        first = next(
            (one for one in answered.outcomes if one.verdict in ("stopped", "throttled")), answered.outcomes[0]
        )
        keys = [row.conversion_id for row in answered.batch.rows]
        if "stopped" in verdicts:
            self.delivery.report.stopped = f"the platform refused the account ({first.code})"
            self.delivery.report.alert = f"check {self.delivery.to.credential} and its permissions ({first.code})"
        elif "throttled" in verdicts:
            self._throttled(book, keys, first.retry_after)
        elif "refused" in verdicts:
            self._part([o.conversion_id for o in answered.outcomes if o.verdict == "refused"], len(keys))
        elif verdicts <= {"uncertain", "unsent", "transient"}:
            if self.pace.failed():
                self.delivery.report.stopped = f"{self.pace.failures} requests in a row failed ({first.code})"
            return
        self.pace.answered()

    def _throttled(self, book: Book, keys: list[str], asked: timedelta | None) -> None:
        """Wait and send the same rows again, or leave the account alone until the pause is over."""
        pause, waits = self.pace.throttled(asked)
        if waits:
            self.delivery.nap = pause
            self.delivery.queue.appendleft(keys)
            return
        until = self.delivery.clock.now() + timedelta(seconds=pause)
        entries.pause(book, self.delivery.destination.name, self.delivery.account, until)
        self.delivery.report.paused_until = until
        self.delivery.report.stopped = f"the platform asked for a pause until {iso(until)}"

    def _part(self, keys: list[str], sent: int) -> None:
        parts = self.pace.parts(keys, sent)
        if parts is None:
            self.delivery.report.stopped = (
                f"{self.delivery.policy.resends} refused requests: the rest waits for the next delivery"
            )
        else:
            self.delivery.queue.extendleft(reversed(parts))
