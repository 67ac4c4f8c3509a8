"""Requests a platform took, and what it said later became of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.ledger.store import Book, micros
from crm_attribution.ledger.tables import ATTEMPT, CONVERSION, RECEIPT, TABLES

AT_ONCE = 200
"""Questions of one delivery at most, the longest waiting first."""

_A, _R = TABLES[ATTEMPT].c, TABLES[RECEIPT].c


@dataclass(frozen=True)
class Waiting:
    """A request to ask about.

    Attributes:
        rows: (conversion_id, action) of its conversions that were accepted.
    """

    receipt: str
    batch_id: str
    accepted_at: datetime
    asked: int
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Told:
    """What a platform said about a request; `next_ask_at` is None when it has said the last of it."""

    receipt: str
    status: str
    next_ask_at: datetime | None
    errors: Mapping[str, int]
    warnings: Mapping[str, int]


def note(
    book: Book,
    destination: str,
    batch_id: str,
    receipts: Mapping[str, int],
    warned: Mapping[str, int],
    now: datetime,
    first: timedelta,
) -> None:
    """Keep the receipts of a batch that was accepted, with the number of its conversions under each, and of those the
    answer warned about by reason."""
    rows = [
        {
            "destination": destination,
            "receipt": receipt,
            "batch_id": batch_id,
            "conversions": count,
            "accepted_at": now,
            "asked": 0,
            "next_ask_at": now + first,
            "status": "waiting",
            "warnings": _counts(warned) if warned else None,
        }
        for receipt, count in receipts.items()
    ]
    if rows:
        book.insert(RECEIPT, pl.DataFrame(rows, schema_overrides=CONTRACTS[RECEIPT].polars_schema))


def due(book: Book, destination: str, account: str, now: datetime) -> list[Waiting]:
    """Requests whose end is to be asked for, the longest waiting first."""
    asked = book.read(RECEIPT, _R.destination == destination, _R.next_ask_at <= micros(now))
    accepted = book.read_keys(ATTEMPT, "batch_id", asked["batch_id"], _A.outcome == "accepted")
    known = book.read_keys(CONVERSION, "conversion_id", accepted["conversion_id"]).filter(pl.col("account") == account)
    rows: dict[str, list[tuple[str, str]]] = {}
    each = accepted.select("batch_id", "conversion_id").join(known.select("conversion_id", "action"), "conversion_id")
    for batch, key, action in each.sort("conversion_id").iter_rows():
        rows.setdefault(batch, []).append((key, action))
    return [
        Waiting(row["receipt"], row["batch_id"], row["accepted_at"], row["asked"], rows[row["batch_id"]])
        for row in asked.sort("accepted_at", "receipt").iter_rows(named=True)
        if row["batch_id"] in rows
    ][:AT_ONCE]


def record(book: Book, destination: str, told: Sequence[Told], now: datetime) -> None:
    """Write what was said."""
    said = {one.receipt: one for one in told}
    before = book.read_keys(RECEIPT, "receipt", said, _R.destination == destination)
    book.update(
        RECEIPT,
        [
            {
                "destination": destination,
                "receipt": row["receipt"],
                "asked": row["asked"] + 1,
                "asked_at": now,
                "next_ask_at": said[row["receipt"]].next_ask_at,
                "status": said[row["receipt"]].status,
                "errors": _counts(said[row["receipt"]].errors),
                "warnings": _counts({**json.loads(row["warnings"] or "{}"), **said[row["receipt"]].warnings}),
            }
            for row in before.iter_rows(named=True)
        ],
    )


def _counts(told: Mapping[str, int]) -> str:
    return json.dumps(dict(sorted(told.items())))
