"""The only writer of states in the delivery ledger: which transition is legal is decided here and nowhere else.

Every function works inside the caller's transaction and raises `IllegalTransition` for a step the table does not know.
None of them opens a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.conversions.claims import Claim, Settled
from crm_attribution.conversions.entries import ATTEMPT, CONVERSION, keys_of
from crm_attribution.destinations.base import Ended
from crm_attribution.errors import Terminal
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.session import Session

TRANSITIONS: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"in_flight", "held", "suppressed", "expired"}),
    "held": frozenset({"pending", "suppressed", "expired"}),
    "in_flight": frozenset({"accepted", "rejected", "retry", "unknown"}),
    # To unknown: sent once with an unknown end, and the platform's duplicate window has passed since.
    "retry": frozenset({"in_flight", "rejected", "suppressed", "expired", "unknown"}),
    "unknown": frozenset({"accepted", "retry", "rejected"}),
    # By what a platform says later became of a request it took; only `finish` does that.
    "accepted": frozenset(),
    "processed": frozenset(),
    "rejected": frozenset(),
    "suppressed": frozenset(),
    "expired": frozenset(),
}
"""State -> where it may go. Two kinds of suppressed rows may also become pending: `before_activation`, when history is
released, and `duplicate`, when what had become one fact is two again."""

WAITING = frozenset({"pending", "held", "retry"})
"""States in which a row may stay for another reason."""

RELEASABLE = {"volume_guard": "held", "possible_duplicate": "held", "before_activation": "suppressed"}
"""Reason a person can lift -> the state it keeps rows in."""


class IllegalTransition(Terminal):
    """A step the state machine does not know, or a key about to be used for another event: a defect."""


@dataclass(frozen=True)
class Move:
    """A row goes to a state (or keeps it) for a reason."""

    conversion_id: str
    state: str
    reason: str | None = None


def is_legal(before: str, reason: str | None, after: str) -> bool:
    """Whether a row in state `before` for `reason` may go to `after`."""
    if before == "suppressed" and after == "pending":
        return reason in ("before_activation", "duplicate")
    return after in TRANSITIONS[before] or (after == before and before in WAITING)


# --- writing


def move(session: Session, moves: Iterable[Move], now: datetime) -> list[str]:
    """Take rows to their states. Returns the ids of those that changed."""
    wanted = [{"conversion_id": m.conversion_id, "state": m.state, "reason": m.reason} for m in moves]
    return _change(session, wanted, now)


def claim(session: Session, batch_id: str, claims: Sequence[Claim], now: datetime) -> None:
    """Commit to sending a batch: from here on bytes may leave. The caller commits before the first does.

    The content of a key is fixed at its first claim.

    Raises:
        IllegalTransition: a row is not there for claiming, or its key was used for another event.
    """
    before = _by_id(session, (c.conversion_id for c in claims))
    changes, attempts = [], []
    for item in claims:
        row = before[item.conversion_id]
        if row["payload_hash"] not in (None, item.payload_hash):
            raise IllegalTransition(f"{item.conversion_id}: another event under the same key")
        changes.append(
            {
                **vars(item),
                "state": "in_flight",
                "reason": None,
                "attempts": row["attempts"] + 1,
                "next_attempt_at": None,
                "batch_id": batch_id,
                "first_sent_at": row["first_sent_at"] or now,
            }
        )
        attempts.append(
            {
                "batch_id": batch_id,
                "conversion_id": item.conversion_id,
                "destination": row["destination"],
                "attempt": row["attempts"] + 1,
                "payload_hash": item.payload_hash,
                "started": now,
            }
        )
    _change(session, changes, now, before)
    _insert(session, ATTEMPT, attempts)


def settle(session: Session, batch_id: str, results: Sequence[Settled], http_status: int | None, now: datetime) -> None:
    """Record an answer row by row.

    It moves only rows that this batch still holds, or that were given up as unknown while it was out; a row that a
    newer batch has claimed keeps its state, and the answer is only in the attempt log.
    """
    before = _by_id(session, (result.conversion_id for result in results))
    changes = []
    for result in results:
        row = before[result.conversion_id]
        if row["batch_id"] != batch_id or row["state"] not in ("in_flight", "unknown"):
            continue
        if row["state"] == result.state:
            continue
        changes.append(
            {
                "conversion_id": result.conversion_id,
                "state": result.state,
                "reason": result.code,
                "attempts": row["attempts"] - (0 if result.charged else 1),
                "next_attempt_at": result.next_attempt_at,
                "first_sent_at": None if result.undone else row["first_sent_at"],
            }
        )
    _change(session, changes, now, before)
    log = {r.conversion_id: {"outcome": r.state, "code": r.code, "http_status": http_status} for r in results}
    _log(session, [batch_id], log, now)


def finish(
    session: Session, batch_id: str, ended: Sequence[Ended], attempts: int, now: datetime
) -> list[tuple[str, str, str | None]]:
    """What a platform said later became of a batch it took; rows that have gone elsewhere since stay.

    This is the one way out of `accepted`. A row that may have failed among others stays, with that for its reason. One
    that was not applied and may be later is sent again, `attempts` times at most.

    Returns:
        conversion_id, state and reason of the rows that changed.
    """
    before = _by_id(session, (one.conversion_id for one in ended))
    moved: list[tuple[str, str, str | None]] = []
    changes = []
    for one in ended:
        row = before[one.conversion_id]
        if row["batch_id"] != batch_id or row["state"] != "accepted":
            continue
        state = "accepted" if one.state == "partly" else one.state
        if state == "retry" and row["attempts"] >= attempts:
            state = "rejected"
        undone = {"first_sent_at": None if state == "retry" else row["first_sent_at"]}
        moved.append((one.conversion_id, state, one.code))
        changes.append({"conversion_id": one.conversion_id, "state": state, "reason": one.code, **undone})
    _update(session, CONVERSION, [{**change, "updated_at": now} for change in changes])
    return moved


def recover(session: Session, states: Mapping[str, str], now: datetime) -> None:
    """Take over rows in flight whose sender is gone: to `retry` or `unknown`."""
    before = _by_id(session, states)
    batches = sorted({row["batch_id"] for row in before.values()})
    move(session, (Move(name, state, "interrupted") for name, state in states.items()), now)
    log = {name: {"outcome": state, "code": "interrupted"} for name, state in states.items()}
    _log(session, batches, log, None)


def doubt(session: Session, destination: str, since: datetime, until: datetime, now: datetime) -> list[str]:
    """After a snapshot of `since` was put back at `until`: what was due by then may have been sent meanwhile.

    Such a row counts as sent once at `since`, so it goes to `retry`: it is sent where the platform still recognises its
    key, and becomes unknown elsewhere. What only a person releases becomes unknown at once. So do rows that are planned
    only afterwards: before the loss they may have been planned and sent. A row that has been through this has a
    `first_sent_at` and is left alone. This is no step of one sender, so the table of transitions does not know it.

    Returns:
        the ids of those rows.
    """
    found = session.query(
        "SELECT conversion_id, if(state = 'held' AND reason IN (SELECT unnest(?)), 'unknown', 'retry') AS state"
        " FROM conversions.conversion WHERE destination = ? AND first_sent_at IS NULL AND ready_at < ?"
        " AND state IN ('pending', 'held', 'retry')",
        [list(RELEASABLE), destination, until],
    )
    change = {"reason": "restored", "first_sent_at": since, "updated_at": now}
    _update(session, CONVERSION, [{**row, **change} for row in found.iter_rows(named=True)])
    return sorted(found["conversion_id"])


def release(session: Session, destination: str, reason: str, now: datetime) -> list[str]:
    """A person lifts a hold (`volume_guard`, `possible_duplicate`) or sends history (`before_activation`).

    The rows become pending and are marked, so that the volume guard lets them pass. Returns their ids.
    """
    state = RELEASABLE.get(reason)
    if state is None:
        raise IllegalTransition(f"{reason} is not a hold to release; these are: {', '.join(RELEASABLE)}")
    found = session.read(CONVERSION, "destination = ? AND state = ? AND reason = ?", [destination, state, reason])[
        "conversion_id"
    ]
    change = {"state": "pending", "reason": "released", "released_at": now}
    return _change(session, [{"conversion_id": name, **change} for name in found], now)


def reconcile(session: Session, conversion_ids: Iterable[str], state: str, reason: str, now: datetime) -> list[str]:
    """Settle unknown rows by a person's decision or a report of the platform: accepted, rejected, or `retry`.

    `retry` means that nothing was applied, so they are sent again under the same key. Returns the ids that changed.
    """
    fresh = {"attempts": 0, "first_sent_at": None, "next_attempt_at": None} if state == "retry" else {}
    before = _by_id(session, conversion_ids)
    for name, row in before.items():
        if row["state"] != "unknown":
            raise IllegalTransition(f"{name}: is {row['state']}, only unknown rows are reconciled")
    change = {"state": state, "reason": reason, **fresh}
    return _change(session, [{"conversion_id": name, **change} for name in before], now, before)


def relink(session: Session, events: Mapping[str, str]) -> None:
    """Link conversions to another event of the same fact, where the one they were planned for is gone.

    Args:
        events: conversion_id -> event_id. The delivery key stays: it was fixed when the row was planned.
    """
    rows = [{"conversion_id": key, "milestone_id": event, "event_id": event} for key, event in events.items()]
    _update(session, CONVERSION, rows)


# --- inside


def _by_id(session: Session, conversion_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    wanted = sorted(set(conversion_ids))
    frame = session.query(
        "SELECT * FROM conversions.conversion SEMI JOIN _keys USING (conversion_id)", _keys=keys_of(wanted)
    )
    found = {row["conversion_id"]: row for row in frame.iter_rows(named=True)}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise IllegalTransition(f"{missing[0]}: no such conversion ({len(missing)} in all)")
    return found


def _frame(table: str, records: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    schema = CONTRACTS[table].polars_schema
    names = {name for record in records for name in record}
    return pl.DataFrame(list(records), schema={name: dtype for name, dtype in schema.items() if name in names})


def _change(
    session: Session,
    changes: Sequence[Mapping[str, Any]],
    now: datetime,
    before: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[str]:
    """Write some columns of some rows, after the table of transitions has allowed each. All rows have one shape."""
    if not changes:
        return []
    before = before or _by_id(session, (str(change["conversion_id"]) for change in changes))
    differing = []
    for change in changes:
        row = before[change["conversion_id"]]
        if all(row[name] == value for name, value in change.items()):
            continue
        if not is_legal(row["state"], row["reason"], change["state"]):
            raise IllegalTransition(f"{row['conversion_id']}: {row['state']} ({row['reason']}) -> {change['state']}")
        differing.append({**change, "updated_at": now})
    _update(session, CONVERSION, differing)
    written = sorted(str(change["conversion_id"]) for change in differing)
    return written


def _log(
    session: Session, batches: Sequence[str], results: Mapping[str, Mapping[str, object]], now: datetime | None
) -> None:
    """Complete attempt rows; a row's answer is written once."""
    open_rows = session.read_keys(ATTEMPT, pl.DataFrame({"batch_id": list(batches)}, schema={"batch_id": pl.String}))
    records = [
        {
            "batch_id": row["batch_id"],
            "conversion_id": row["conversion_id"],
            "finished": now,
            **results[row["conversion_id"]],
        }
        for row in open_rows.iter_rows(named=True)
        if row["conversion_id"] in results and row["finished"] is None
    ]
    _update(session, ATTEMPT, records)


def _update(session: Session, table: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Set columns of rows that exist. All records have one shape."""
    if not records:
        return
    key = CONTRACTS[table].key
    columns = ", ".join(f"{q(name)} = n.{q(name)}" for name in records[0] if name not in key)
    match = " AND ".join(f"t.{q(name)} = n.{q(name)}" for name in key)
    _execute(session, f"UPDATE {table_name(table)} t SET {columns} FROM _records n WHERE {match}", table, records)


def _insert(session: Session, table: str, records: Sequence[Mapping[str, Any]]) -> None:
    """New rows of one shape; columns not given are null."""
    _execute(session, f"INSERT INTO {table_name(table)} BY NAME SELECT * FROM _records", table, records)


def _execute(session: Session, sql: str, table: str, records: Sequence[Mapping[str, Any]]) -> None:
    session.connection.register("_records", _frame(table, records))
    try:
        session.connection.execute(sql)
    finally:
        session.connection.unregister("_records")
