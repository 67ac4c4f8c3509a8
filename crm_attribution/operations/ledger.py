"""A person's decisions about the delivery ledger: put a copy in force, settle unknown rows, plan a refused one anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from crm_attribution.clock import WallClock, iso
from crm_attribution.conversions import mirror
from crm_attribution.conversions.recovery import recover as recover_ledger
from crm_attribution.delivery.replay import Wish, queue
from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger import moves
from crm_attribution.ledger.store import Book
from crm_attribution.ledger.tables import CONVERSION, TABLES
from crm_attribution.orchestration.resources import Pipeline, open_pipeline, run_lock
from crm_attribution.settings import Settings
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import newest_hour_end

_C = TABLES[CONVERSION].c


@dataclass(frozen=True)
class Chosen:
    """Which conversions a person means: of one destination, and all of what is given.

    Attributes:
        ids: conversion, milestone or event ids; empty: any.
        reason: why they are in their state; None: any.
        since, until: of `occurred_at`; None: any.
    """

    destination: str
    ids: Sequence[str] = ()
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def recover(given: Settings) -> dict[str, Any]:
    """End safe mode: the newest copy of the ledger goes on, and what may have been sent after it is in doubt."""
    with _at_work(given, "ledger recover") as (pipeline, session):
        done = recover_ledger(session, pipeline.ledger, pipeline.clock.now())
    if done is None:
        return {"recovered": False, "reason": "the ledger is not in safe mode"}
    return {
        "recovered": True,
        "reason": done.reason.partition("; nothing is sent")[0],
        "from": "the ledger itself" if done.source == "ledger" else "its copy in the warehouse",
        "conversions": done.conversions,
        "unknown_since": None if done.lost is None else iso(done.lost[0]),
    }


def release(given: Settings, destination: str, reason: str) -> list[str]:
    """Make held rows (or suppressed history) of a destination pending again; returns their ids.

    Raises:
        ConfigurationError: when there is no such destination, nothing was ever planned, or in safe mode.
    """
    _known(destination)
    with _writing(given, "release") as (pipeline, book):
        return moves.release(book, destination, reason, pipeline.clock.now())


def resolve(given: Settings, chosen: Chosen, decision: str, because: str) -> list[str]:
    """Settle rows whose end is unknown (`accepted`, `rejected`, or `retry`: nothing was applied), or plan rejected ones
    `again` after their cause is mended. Returns the ids that were chosen.

    Raises:
        ConfigurationError: when an id names no such row, or nothing was chosen.
    """
    _known(chosen.destination)
    state = "rejected" if decision == "again" else "unknown"
    with _writing(given, "resolve") as (pipeline, book):
        now, rows = pipeline.clock.now(), _chosen(book, chosen, state)
        if decision == "again":
            return moves.plan_again(book, rows, f"again: {because}", now)
        return moves.reconcile(book, rows["conversion_id"], decision, f"decided: {because}", now)


def replay(given: Settings, wish: Wish) -> list[dict[str, Any]]:
    """Queue conversions to be sent again; what became of each id."""
    with _at_work(given, "replay") as (pipeline, session):
        return [answer.document() for answer in queue(session, pipeline.ledger, wish, pipeline.clock.now())]


def read_ids(file: Path) -> list[str]:
    """Ids, one a line.

    Raises:
        ConfigurationError: when it cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read as text: {type(error).__name__}") from None
    return [line.strip() for line in lines if line.strip()]


def _chosen(book: Book, chosen: Chosen, state: str) -> pl.DataFrame:
    rows = book.read(CONVERSION, _C.destination == chosen.destination, _C.state == state)
    if chosen.ids:
        named = pl.Series(sorted(set(chosen.ids)))
        columns = ("conversion_id", "milestone_id", "event_id")
        hit = {value for name in columns for value in rows[name].to_list()}
        missing = [name for name in named if name not in hit]
        if missing:
            raise ConfigurationError(
                f"{missing[0]}: no conversion of {chosen.destination} that is {state} has this id, or this milestone"
                " or event" + (f" ({len(missing)} such ids)" if len(missing) > 1 else "")
            )
        rows = rows.filter(pl.any_horizontal(pl.col(name).is_in(named.implode()) for name in columns))
    if chosen.reason is not None:
        rows = rows.filter(pl.col("reason") == chosen.reason)
    if chosen.since is not None:
        rows = rows.filter(pl.col("occurred_at") >= chosen.since)
    if chosen.until is not None:
        rows = rows.filter(pl.col("occurred_at") < chosen.until)
    return rows.sort("occurred_at", "conversion_id")


def _known(destination: str) -> None:
    if destination not in destinations():
        raise ConfigurationError(f"no destination {destination}; there are: {', '.join(destinations())}")


@contextmanager
def _at_work(given: Settings, command: str) -> Iterator[tuple[Pipeline, Session]]:
    """The warehouse open with the run lock held, on an installation that has run."""
    holder = {"run_id": command, "command": f"crm-attribution {command}", "since": iso(WallClock().now())}
    pipeline = open_pipeline(given)
    lock = run_lock(given).acquire(given.lock_wait_seconds, holder)
    with lock, pipeline.warehouse.session() as session:
        newest_hour_end(session.state)
        yield pipeline, session


@contextmanager
def _writing(given: Settings, command: str) -> Iterator[tuple[Pipeline, Book]]:
    with _at_work(given, command) as (pipeline, session), mirror.writing(session, pipeline.ledger) as book:
        yield pipeline, book
