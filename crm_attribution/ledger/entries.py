"""What the ledger holds: rows that are due, in flight, or were sent; and what was remembered beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import sqlalchemy as sa

from crm_attribution.ledger.store import Book, micros, moment
from crm_attribution.ledger.tables import ACTIVATION, ATTEMPT, CONVERSION, PAUSE, TABLES

SENT = ("in_flight", "retry", "unknown", "accepted", "processed", "rejected")

_C, _A = TABLES[CONVERSION].c, TABLES[ATTEMPT].c
_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Scope:
    """Rows of one ad account of a destination, or of all but some.

    Attributes:
        account: None: of any account that is not among `others`.
    """

    destination: str
    account: str | None = None
    others: frozenset[str] = frozenset()

    @property
    def where(self) -> tuple[sa.ColumnElement[bool], ...]:
        """Of conversions."""
        mine = _C.destination == self.destination
        if self.account is not None:
            return (mine, _C.account == self.account)
        return (mine, _C.account.not_in(sorted(self.others))) if self.others else (mine,)


@dataclass(frozen=True)
class Again:
    """Held rows to be looked at again.

    Attributes:
        conversion_ids: about something that changed.
        serial: of the ledger when they were looked at last: rows written since are looked at.
        until: end of the window of then: rows that are ready later have not been looked at yet.
    """

    conversion_ids: Sequence[str]
    serial: int
    until: datetime


_BY_TIME = ("in_future", "record_unreadable", "volume_guard")
"""Reasons that go, or count for others, though nothing of the row changes."""


def due(book: Book, scope: Scope, before: datetime, now: datetime, again: Again | None = None) -> pl.DataFrame:
    """Rows that might be sent, oldest fact first: planned for before the window's end, or to be retried by now; of held
    ones those to be looked at again, by default all."""
    waited = _C.next_attempt_at.is_(None) | (_C.next_attempt_at <= micros(now))
    mine = (*scope.where, _C.ready_at < micros(before))
    waiting = (_C.state == "pending") | ((_C.state == "retry") & waited)
    held = _C.state == "held"
    if again is None:
        return book.read(CONVERSION, *mine, waiting | held).sort("occurred_at", "conversion_id")
    fresh = (
        (_C.changed > again.serial)
        | (_C.ready_at >= micros(again.until))
        | (_C.expires_at <= micros(now))
        | _C.first_sent_at.is_not(None)
        | _C.replayed_from.is_not(None)
        | _C.reason.in_(_BY_TIME)
    )
    touched = book.read_keys(CONVERSION, "conversion_id", again.conversion_ids, *mine, held & ~fresh)
    found = book.read(CONVERSION, *mine, waiting | (held & fresh))
    return pl.concat([found, touched]).sort("occurred_at", "conversion_id")


def held(book: Book, scope: Scope, before: datetime) -> dict[str | None, int]:
    """How many rows that are due are held, by their reason."""
    mine = (*scope.where, _C.ready_at < micros(before), _C.state == "held")
    found = book.connection.execute(sa.select(_C.reason, sa.func.count()).where(*mine).group_by(_C.reason))
    return {row[0]: int(row[1]) for row in found}


def rows(book: Book, conversion_ids: Iterable[str], scope: Scope | None = None) -> pl.DataFrame:
    """The rows of some conversions, oldest fact first."""
    where = () if scope is None else scope.where
    return book.read_keys(CONVERSION, "conversion_id", conversion_ids, *where).sort("occurred_at", "conversion_id")


def of_milestones(book: Book, scope: Scope, milestone_ids: Iterable[str]) -> pl.DataFrame:
    """The rows of some business facts, oldest first."""
    found = book.read_keys(CONVERSION, "milestone_id", milestone_ids, *scope.where)
    return found.sort("occurred_at", "conversion_id")


def browser_events(book: Book, scope: Scope, ids: Iterable[str]) -> pl.DataFrame:
    """The conversions that were sent under some ids of the browser's."""
    return book.read_keys(CONVERSION, "browser_event_id", ids, *scope.where)


def in_flight(book: Book, scope: Scope) -> pl.DataFrame:
    """Rows whose sender has not recorded an answer, with `left` Boolean: whether bytes of them may have left."""
    found = book.read(CONVERSION, *scope.where, _C.state == "in_flight")
    left = book.read_keys(ATTEMPT, "batch_id", found["batch_id"].drop_nulls(), _A.left_at.is_not(None))
    known = left.select("batch_id", "conversion_id", left=pl.lit(True))
    return found.join(known, on=["batch_id", "conversion_id"], how="left", maintain_order="left").with_columns(
        pl.col("left").fill_null(False)
    )


def ended_uncertain(book: Book, scope: Scope) -> bool:
    """Whether it is not known what became of the batch that left last."""
    last = sa.select(_A.batch_id).where(_A.destination == scope.destination, _A.left_at.is_not(None))
    last = last.join(TABLES[CONVERSION], _C.conversion_id == _A.conversion_id).where(*scope.where)
    batch = book.connection.scalar(last.order_by(_A.left_at.desc(), _A.changed.desc()).limit(1))
    found = book.connection.execute(sa.select(_A.outcome).where(_A.batch_id == batch).distinct()).scalars().all()
    return batch is not None and ("unknown" in found or None in found)


def oldest_waiting(book: Book, scope: Scope, now: datetime) -> datetime | None:
    """Since when the conversion that has been due longest waits; None where none does."""
    waiting = _C.state.in_(["pending", "held", "in_flight", "retry", "unknown"])
    found = book.connection.scalar(
        sa.select(sa.func.min(_C.ready_at)).where(*scope.where, waiting, _C.ready_at < micros(now))
    )
    return None if found is None else moment(found)


def stuck(book: Book, scope: Scope, since: datetime) -> int:
    """Conversions that have been due since before then, and that nothing holds."""
    late = (*scope.where, _C.state.in_(["pending", "in_flight", "retry"]), _C.ready_at < micros(since))
    return int(book.connection.scalar(sa.select(sa.func.count()).where(*late)) or 0)


def sent_by_hour(book: Book, scope: Scope, since: datetime) -> dict[tuple[str, datetime], int]:
    """How many conversions of each milestone were sent, by the hour they were ready in."""
    hour = (_C.ready_at - _C.ready_at % _HOUR).label("hour")
    found = book.connection.execute(
        sa.select(_C.milestone, hour, sa.func.count())
        .where(*scope.where, _C.ready_at >= micros(since), _C.state.in_(SENT))
        .group_by(_C.milestone, hour)
    ).fetchall()
    hours = pl.Series([row[1] for row in found], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    return {(row[0], when): row[2] for row, when in zip(found, hours, strict=True)}


def counts(book: Book, destination: str | None = None) -> dict[tuple[str, str, str | None], int]:
    """Rows by destination, state and reason."""
    grouped = (_C.destination, _C.state, _C.reason)
    wanted = [] if destination is None else [_C.destination == destination]
    found = book.connection.execute(
        sa.select(*grouped, sa.func.count()).where(*wanted).group_by(*grouped).order_by(*grouped)
    )
    return {(name, state, reason): count for name, state, reason, count in found}


def paused_until(book: Book, destination: str, account: str) -> datetime | None:
    """When the pause ends that the platform asked for; None where it has asked for none."""
    found = book.connection.scalar(
        sa.select(PAUSE.c.until).where(PAUSE.c.destination == destination, PAUSE.c.account == account)
    )
    return None if found is None else moment(found)


def pause(book: Book, destination: str, account: str, until: datetime) -> None:
    """Leave an account alone until then."""
    book.put(PAUSE, {"destination": destination, "account": account, "until": micros(until)})


def activations(book: Book) -> list[tuple[str, str, str, str]]:
    """account (`Account.key`), milestone, action, and `send_from` when the rule was first seen; none before the first
    planning."""
    found = book.connection.execute(sa.select(ACTIVATION))
    return sorted((row.destination, row.milestone, row.action, row.since) for row in found)


def activate(book: Book, destination: str, milestone: str, action: str, since: str) -> None:
    """Remember from when a rule sends."""
    book.put(ACTIVATION, {"destination": destination, "milestone": milestone, "action": action, "since": since})
