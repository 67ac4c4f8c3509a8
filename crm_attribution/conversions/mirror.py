"""The warehouse's copy of the ledger: conversions.conversion, delivery.attempt, delivery.receipt, for marts and checks.

It follows the ledger by its serial number, so that it costs what has changed. Nothing is written to these tables
otherwise, and nothing is decided by them: a warehouse that is put back or rebuilt takes its copy anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger import entries
from crm_attribution.ledger.mark import Stand
from crm_attribution.ledger.safety import why_unsafe
from crm_attribution.ledger.store import Book, Ledger
from crm_attribution.ledger.tables import ATTEMPT, MIRRORED, TABLES
from crm_attribution.warehouse.session import Session

_KEPT_HERE = "SELECT count(*) > 0 FROM conversions.conversion"


def ready(session: Session, ledger: Ledger) -> str | None:
    """Have a ledger with an up-to-date copy; why nothing may be planned or sent where it is not safe to.

    The first time it takes over what an earlier release kept in the warehouse.
    """
    unsafe = why_unsafe(ledger, copied(session))
    if unsafe is not None:
        return unsafe
    if not ledger.exists():
        ledger.create()
    with ledger.writing() as book:
        if copied(session) is None and book.stand.serial == 0 and session.scalar(_KEPT_HERE):
            take_over(session, book)
        stand = book.stand
        ledger.mark.raise_to(Stand(stand.ledger, 0))  # from now on a ledger that is gone is missed
    with ledger.reading() as book, session.transaction():
        follow(session, book)
    return None


@contextmanager
def writing(session: Session, ledger: Ledger) -> Iterator[Book]:
    """A transaction of the ledger by a person's command, with the copy brought up to it.

    Raises:
        ConfigurationError: in safe mode.
    """
    unsafe = ready(session, ledger)
    if unsafe is not None:
        raise ConfigurationError(unsafe)
    with session.transaction(), ledger.writing() as book:
        yield book
        follow(session, book)


def copied(session: Session) -> Stand | None:
    """The moment of the ledger that the copy is of."""
    known = session.state.ledger
    return None if known is None else Stand(known["ledger"], known["serial"])


def follow(session: Session, book: Book) -> None:
    """Bring the copy up to what the ledger is now. Inside the caller's transaction of the warehouse."""
    known, stand = copied(session), book.stand
    if known == stand:
        return
    whole = known is None or known.ledger != stand.ledger or known.serial > stand.serial
    since = 0 if whole or known is None else known.serial
    for name in MIRRORED:
        rows = book.read(name, TABLES[name].c.changed > since)
        if whole and (rows.height or known is not None):
            session[name].replace(rows, None)
        elif rows.height:
            session[name].upsert(rows)
    before = session.state.rule_since.all()
    for destination, milestone, action, send_from in entries.activations(book):
        if before.get(f"{destination}:{milestone}:{action}") != send_from:
            session.state.rule_since[destination, milestone, action] = send_from
    session.state.ledger = {"ledger": stand.ledger, "serial": stand.serial}


def take_over(session: Session, book: Book) -> None:
    """Fill an empty ledger with the copy: of a release that kept it in the warehouse, or of a ledger that is lost."""
    for name in MIRRORED:
        rows = session.read(name)
        if name == ATTEMPT and copied(session) is None:  # before it was noted, every claim may have left
            rows = rows.with_columns(left_at=pl.coalesce("left_at", "started"))
        book.insert(name, rows)
    for key, since in session.state.rule_since.all().items():
        destination, milestone, action = key.split(":", 2)
        entries.activate(book, destination, milestone, action, since)
    for key, until in session.state.pause.all().items():
        destination, _, account = key.partition(":")
        entries.pause(book, destination, account, until)
    if (lost := session.state.restored) is not None:
        book.recovered(0, lost)
