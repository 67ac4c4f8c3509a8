"""What became of requests a platform took, where it tells that later: asked about before anything new is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from crm_attribution.delivery.context import Delivery
from crm_attribution.destinations.base import LAST_ASKED, Destination, Ended, Outcome, Processed, ProcessesLater
from crm_attribution.errors import Retryable
from crm_attribution.http.answers import Answer
from crm_attribution.ledger import moves, receipts
from crm_attribution.ledger.receipts import Told, Waiting
from crm_attribution.ledger.store import Book, Ledger


class Asker(Protocol):
    """`Transport`, as far as a question needs it."""

    def send_once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer: ...


@dataclass(frozen=True)
class Heard:
    """A request and what the platform said about it."""

    waiting: Waiting
    said: Processed


def note_receipts(
    book: Book,
    destination: Destination,
    batch_id: str,
    outcomes: Iterable[Outcome],
    warned: Mapping[str, int],
    now: datetime,
) -> None:
    """Keep what a platform calls the requests of a batch, where it tells later what became of them."""
    if isinstance(destination, ProcessesLater):
        taken = Counter(one.receipt for one in outcomes if one.receipt and one.verdict == "accepted")
        receipts.note(book, destination.name, batch_id, taken, warned, now, destination.first_asked)


def follow_up(delivery: Delivery, transport: Asker, ledger: Ledger) -> None:
    """Ask what became of requests that were taken before, and settle their rows."""
    destination = delivery.destination
    if not isinstance(destination, ProcessesLater):
        return
    with ledger.reading() as book:
        waiting = receipts.due(book, destination.name, delivery.account, delivery.clock.now())
    if waiting:
        delivery.renew()
    if not waiting or delivery.report.stopped:
        return
    heard = _ask(delivery, destination, transport, waiting)
    now = delivery.clock.now()
    with ledger.writing() as book:
        for one in heard:
            rows, attempts = one.said.rows or (), delivery.policy.attempts
            delivery.ended(moves.finish(book, one.waiting.batch_id, rows, attempts, now))
        receipts.record(book, destination.name, [_told(destination, one, now) for one in heard], now)


def _ask(delivery: Delivery, destination: ProcessesLater, transport: Asker, waiting: Sequence[Waiting]) -> list[Heard]:
    """Ask about each; from the first that cannot be asked now on, the next delivery asks."""
    heard: list[Heard] = []
    for one in waiting:
        question = destination.ask(one.receipt)
        headers = delivery.headers(question)
        try:
            answer = transport.send_once(question.method, question.path, params=question.params, headers=headers)
        except Retryable:
            break
        if answer.status in (401, 403, 429) or answer.status >= 500:
            break  # not an answer about the request: it does not count as asked
        heard.append(Heard(one, destination.read_processed(answer, one.rows)))
    return heard


def _told(destination: ProcessesLater, heard: Heard, now: datetime) -> Told:
    waiting, said = heard.waiting, heard.said
    status, again = _status(said.rows), None
    if said.rows is None:
        again = now + destination.first_asked * float(1 << min(waiting.asked + 1, 10))
        if again > waiting.accepted_at + LAST_ASKED:
            status, again = "not_told", None
    return Told(waiting.receipt, status, again, said.errors, said.warnings)


def _status(rows: Sequence[Ended] | None) -> str:
    if rows is None:
        return "waiting"
    states = {row.state for row in rows}
    if states <= {"processed"}:
        return "processed"
    return "partly" if states & {"processed", "partly"} else "failed"
