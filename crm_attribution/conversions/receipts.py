"""delivery.receipt: requests a platform took, and what it said later became of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.warehouse.session import Session

RECEIPT = "delivery.receipt"

AT_ONCE = 200
"""Questions of one delivery at most, the longest waiting first."""


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
    session: Session, destination: str, batch_id: str, receipts: Mapping[str, int], now: datetime, first: timedelta
) -> None:
    """Keep the receipts of a batch that was accepted, with the number of its conversions under each."""
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
        }
        for receipt, count in receipts.items()
    ]
    if rows:
        session[RECEIPT].upsert(_frame(rows))


def due(session: Session, destination: str, account: str, now: datetime) -> list[Waiting]:
    """Requests whose end is to be asked for, the longest waiting first."""
    found = session.query(
        "SELECT r.receipt, r.batch_id, r.accepted_at, r.asked, list(c.conversion_id ORDER BY c.conversion_id) AS keys,"
        " list(c.action ORDER BY c.conversion_id) AS actions FROM delivery.receipt r"
        " JOIN delivery.attempt a ON a.batch_id = r.batch_id AND a.outcome = 'accepted'"
        " JOIN conversions.conversion c ON c.conversion_id = a.conversion_id AND c.account = ?"
        " WHERE r.destination = ? AND r.next_ask_at <= ? GROUP BY ALL ORDER BY r.accepted_at, r.receipt LIMIT ?",
        [account, destination, now, AT_ONCE],
    )
    return [
        Waiting(receipt, batch, accepted, asked, list(zip(keys, actions, strict=True)))
        for receipt, batch, accepted, asked, keys, actions in found.iter_rows()
    ]


def record(session: Session, destination: str, told: Sequence[Told], now: datetime) -> None:
    """Write what was said."""
    before = session.read_keys(
        RECEIPT, pl.DataFrame({"destination": destination, "receipt": [one.receipt for one in told]})
    )
    said = {one.receipt: one for one in told}
    rows = []
    for row in before.iter_rows(named=True):
        one = said[row["receipt"]]
        rows.append(
            {
                **row,
                "asked": row["asked"] + 1,
                "asked_at": now,
                "next_ask_at": one.next_ask_at,
                "status": one.status,
                "errors": json.dumps(dict(sorted(one.errors.items()))),
                "warnings": json.dumps(dict(sorted(one.warnings.items()))),
            }
        )
    if rows:
        session[RECEIPT].upsert(_frame(rows))


def _frame(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=CONTRACTS[RECEIPT].polars_schema)
