"""A ledger that was lost or put back: the newest copy in force again, and what may have been sent since in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from crm_attribution.conversions import mirror
from crm_attribution.ledger.mark import MarkDamaged, Stand
from crm_attribution.ledger.safety import why_unsafe
from crm_attribution.ledger.store import Ledger, LedgerDamaged
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.warehouse.session import Session


@dataclass(frozen=True)
class Recovered:
    """What was done.

    Attributes:
        reason: why it was needed.
        source: `ledger`, or `copy` where the warehouse's copy was the newer one.
        lost: from when to when it is not known what was sent; None where nothing was.
        conversions: rows of the ledger now.
    """

    reason: str
    source: str
    lost: tuple[datetime, datetime] | None
    conversions: int


def recover(session: Session, ledger: Ledger, now: datetime) -> Recovered | None:
    """End safe mode: of the ledger and its copy in the warehouse the newer one goes on.

    Where the mark says that bytes left after it, what was due by now may have been sent: the next delivery sends it
    only where the platform recognises our key, elsewhere it becomes `unknown`. A recovery that was cut off goes on: the
    ledger it made knows which mark it replaces, and nothing more is in doubt.

    Returns:
        None where the ledger is not in safe mode.
    """
    copied = mirror.copied(session)
    reason = why_unsafe(ledger, copied)
    if reason is None:
        return None
    marked, readable = _marked(ledger)
    own = _stand(ledger)
    source = "copy" if own is None or (copied is not None and _newer(copied, own, marked)) else "ledger"
    base = copied if source == "copy" else own
    if source == "copy":
        ledger.replace()
    with session.transaction(), ledger.writing() as book:
        if source == "copy":
            mirror.take_over(session, book)
        rows = book.read(CONVERSION)
        again = source == "ledger" and marked is not None and book.instead_of == marked
        known = again or _complete(base, marked, readable=readable)
        lost = book.lost if again else None if known else (_last_change(rows), now)
        serial = max(one.serial for one in (base, marked, own, copied) if one) if base else 0
        book.recovered(serial, lost, marked)
        mirror.follow(session, book)
        stand = book.stand
    ledger.mark.begin(stand)
    return Recovered(reason, source, lost, rows.height)


def _marked(ledger: Ledger) -> tuple[Stand | None, bool]:
    try:
        return ledger.mark.read(), True
    except MarkDamaged:
        return None, False


def _stand(ledger: Ledger) -> Stand | None:
    try:
        if not ledger.exists():
            return None
        with ledger.reading() as book:
            return book.stand
    except LedgerDamaged:
        return None


def _newer(copied: Stand, own: Stand, marked: Stand | None) -> bool:
    """Whether the copy knows more than the ledger that is there: of two, that which the mark names."""
    if copied.ledger != own.ledger:
        return marked is None or marked.ledger == copied.ledger
    return copied.serial > own.serial


def _complete(base: Stand | None, marked: Stand | None, *, readable: bool) -> bool:
    """Whether the mark proves that nothing left after the copy that goes on."""
    if not readable or base is None or marked is None:
        return False
    return base.ledger == marked.ledger and base.serial >= marked.serial


def _last_change(rows: pl.DataFrame) -> datetime:
    """When anything of it changed last, by the pipeline's clock; the beginning of time where it holds nothing."""
    found = rows["updated_at"].max()
    return found if isinstance(found, datetime) else datetime(1970, 1, 1, tzinfo=UTC)
