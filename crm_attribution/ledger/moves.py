"""The only writer of states in the ledger. Every function works inside the caller's transaction (`Ledger.writing`).

Each raises `IllegalTransition` for a step that `transitions` does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from crm_attribution.contracts import CONTRACTS
from crm_attribution.destinations.base import Ended
from crm_attribution.identifiers import delivery_key
from crm_attribution.ledger.store import Book, micros
from crm_attribution.ledger.tables import ATTEMPT, CONVERSION, REPLAY, TABLES
from crm_attribution.ledger.transitions import (
    DECIDED,
    RELEASABLE,
    Claim,
    IllegalTransition,
    Move,
    Settled,
    is_legal,
)

_FACT = ["destination", "account", "action", "milestone_id"]
_C, _A = TABLES[CONVERSION].c, TABLES[ATTEMPT].c


# --- planning


def move(book: Book, moves: Iterable[Move], now: datetime) -> list[str]:
    """Take rows to their states. Returns the ids of those that changed."""
    wanted = [{"conversion_id": m.conversion_id, "state": m.state, "reason": m.reason} for m in moves]
    return _change(book, wanted, now)


def refresh(book: Book, rows: pl.DataFrame) -> list[str]:
    """Give rows that were never sent the values of their fact now; returns their ids.

    Args:
        rows: whole rows of conversions.conversion.
    """
    named = [*CONTRACTS[CONVERSION].key, "value", "currency", "occurred_at", "ready_at", "expires_at", "updated_at"]
    book.update(CONVERSION, rows.select(named).rows(named=True))
    return sorted(rows["conversion_id"])


def relink(book: Book, events: Mapping[str, str]) -> None:
    """Link conversions to another event of the same fact, where the one they were planned for is gone.

    Args:
        events: conversion_id -> event_id. The delivery key stays: it was fixed when the row was planned.
    """
    rows = [{"conversion_id": key, "milestone_id": event, "event_id": event} for key, event in events.items()]
    book.update(CONVERSION, rows)


_NAMING = ("touch_id", "milestone_id", "event_id")
"""What may name a touch: an ad's conversion has one, what HubSpot is told is one, or a record's state by one."""


def rename(book: Book, names: Mapping[str, str]) -> pl.DataFrame:
    """Give touches and subjects other names, also where they are a part of an id, between colons.

    Returns:
        conversion_id, state, told: of the rows that held one; whether the row is about it.
    """
    held = _renamed(book, CONVERSION, ("conversion_id",), _NAMING, names, "state")
    _renamed(book, REPLAY, CONTRACTS[REPLAY].key, ("asked_id",), names)
    return held.select("conversion_id", "state", told=pl.col("milestone_id_changed"))


def _renamed(
    book: Book, table: str, key: Sequence[str], columns: Sequence[str], names: Mapping[str, str], *more: str
) -> pl.DataFrame:
    """Rows of which a column names one of `names`, with its new name, and which of the columns changed."""
    shown, schema = [*key, *columns, *more], CONTRACTS[table].polars_schema
    times = [name for name in key if isinstance(schema[name], pl.Datetime)]
    stored = {name: pl.Int64() if name in times else schema[name] for name in shown}
    found = book.connection.execute(sa.select(*(TABLES[table].c[name] for name in shown))).fetchall()
    rows = pl.DataFrame([tuple(row) for row in found], schema=stored, orient="row")
    rows = rows.with_columns(pl.col(times).cast(pl.Datetime("us", "UTC")))
    old, new = ([f":{one}:" for one in some] for some in (names.keys(), names.values()))
    fresh = rows.with_columns(
        pl.format(":{}:", name).str.replace_many(old, new).str.slice(1).str.strip_suffix(":") for name in columns
    )
    changed = [fresh[name].ne_missing(rows[name]).alias(f"{name}_changed") for name in columns]
    fresh = fresh.with_columns(changed).filter(pl.any_horizontal(changed))
    book.update(table, fresh.select(*key, *columns).rows(named=True))
    return fresh


def forget_browser_events(book: Book, contact_ids: Iterable[int]) -> int:
    """Leave out what the browser called events of some contacts; how many rows held it."""
    rows = book.read(CONVERSION, _C.browser_event_id.is_not(None), _C.contact_id.in_(sorted(contact_ids)))
    book.update(CONVERSION, [{"conversion_id": key, "browser_event_id": None} for key in rows["conversion_id"]])
    return rows.height


# --- sending


def claim(book: Book, batch_id: str, claims: Sequence[Claim], now: datetime) -> None:
    """Commit to sending a batch. The caller commits before `leave`. The content of a key is fixed at its first claim.

    Raises:
        IllegalTransition: a row is not there for claiming, or its key was used for another event.
    """
    before = _by_id(book, (c.conversion_id for c in claims))
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
    _change(book, changes, now, before)
    book.insert(ATTEMPT, pl.DataFrame(attempts, schema_overrides=_types(ATTEMPT, attempts)))


def leave(book: Book, batch_id: str, conversion_ids: Sequence[str], now: datetime) -> bool:
    """Commit that the first byte of a batch is about to leave; the caller sends it after its commit, or never.

    Returns:
        False, with nothing written, where another sender has taken one of the rows over: the batch must not be sent.
    """
    held = (_C.batch_id == batch_id, _C.state == "in_flight")
    if book.count(CONVERSION, *held) != len(set(conversion_ids)):
        return False
    book.set(CONVERSION, {"first_sent_at": now}, *held, _C.first_sent_at.is_(None))
    book.set(ATTEMPT, {"left_at": now}, _A.batch_id == batch_id)
    return True


def settle(book: Book, batch_id: str, results: Sequence[Settled], http_status: int | None, now: datetime) -> None:
    """Record an answer row by row.

    It moves only rows that this batch still holds, or that were given up as unknown while it was out; a row that a
    newer batch has claimed keeps its state, and the answer is only in the attempt log.
    """
    before = _by_id(book, (result.conversion_id for result in results))
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
    _change(book, changes, now, before)
    log = {r.conversion_id: {"outcome": r.state, "code": r.code, "http_status": http_status} for r in results}
    _log(book, [batch_id], log, now)


def finish(
    book: Book, batch_id: str, ended: Sequence[Ended], attempts: int, now: datetime
) -> list[tuple[str, str, str | None]]:
    """What a platform said later became of a batch it took; rows that have gone elsewhere since stay.

    This is the one way out of `accepted`. A row that may have failed among others stays, with that for its reason. One
    that was not applied and may be later is sent again, `attempts` times at most.

    Returns:
        conversion_id, state and reason of the rows that changed.
    """
    before = _by_id(book, (one.conversion_id for one in ended))
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
    book.update(CONVERSION, [{**change, "updated_at": now} for change in changes])
    return moved


# --- taking over, deciding


def recover(book: Book, states: Mapping[str, str], now: datetime) -> None:
    """Take over rows in flight whose sender is gone and of which bytes may have left: to `retry` or `unknown`."""
    before = _by_id(book, states)
    move(book, (Move(name, state, "interrupted") for name, state in states.items()), now)
    _interrupted(book, before, states)


def unsent(book: Book, conversion_ids: Iterable[str], now: datetime) -> None:
    """Take over rows in flight of which nothing has left: they are to be sent as if they had not been claimed."""
    before = _by_id(book, conversion_ids)
    changes = [
        {"conversion_id": name, "state": "retry", "reason": "never_left", "attempts": row["attempts"] - 1}
        for name, row in before.items()
    ]
    _change(book, changes, now, before)
    _interrupted(book, before, dict.fromkeys(before, "retry"))


def doubt(book: Book, destination: str, since: datetime, until: datetime, now: datetime) -> list[str]:
    """After a ledger that stood as of `since` was put back at `until`: what was due by then may have been sent.

    Such a row counts as sent once at `since`, so it goes to `retry`: it is sent where the platform still recognises its
    key, and becomes unknown elsewhere. What only a person releases becomes unknown at once. So do rows that are planned
    only afterwards: before the loss they may have been planned and sent. A row that has been through this has a
    `first_sent_at`, or a person has decided it, and it is left alone. This is no step of one sender, so the table of
    transitions does not know it.

    Returns:
        the ids of those rows.
    """
    found = book.read(
        CONVERSION,
        _C.destination == destination,
        _C.first_sent_at.is_(None),
        _C.ready_at < micros(until),
        _C.released_at.is_(None) | (_C.released_at < micros(until)),
        _C.state.in_(["pending", "held", "retry", "in_flight"]),
    )
    kept = (pl.col("state") == "held") & pl.col("reason").is_in(list(RELEASABLE))
    rows = found.select("conversion_id", state=pl.when(kept).then(pl.lit("unknown")).otherwise(pl.lit("retry")))
    change = {"reason": "restored", "first_sent_at": since, "updated_at": now}
    book.update(CONVERSION, [{**row, **change} for row in rows.iter_rows(named=True)])
    flying = found.filter(pl.col("state") == "in_flight")
    _interrupted(book, {row["conversion_id"]: row for row in flying.iter_rows(named=True)}, dict(rows.iter_rows()))
    return sorted(found["conversion_id"])


def release(book: Book, destination: str, reason: str, now: datetime) -> list[str]:
    """A person lifts a hold (`volume_guard`, `possible_duplicate`) or sends history (`before_activation`).

    The rows become pending and are marked, so that the volume guard lets them pass. Returns their ids.
    """
    state = RELEASABLE.get(reason)
    if state is None:
        raise IllegalTransition(f"{reason} is not a hold to release; these are: {', '.join(RELEASABLE)}")
    found = book.read(CONVERSION, _C.destination == destination, _C.state == state, _C.reason == reason)
    change = {"state": "pending", "reason": "released", "released_at": now}
    return _change(book, [{"conversion_id": name, **change} for name in found["conversion_id"]], now)


def reconcile(book: Book, conversion_ids: Iterable[str], state: str, reason: str, now: datetime) -> list[str]:
    """Settle unknown rows by a person's decision or a report of the platform: accepted, rejected, or `retry`.

    `retry` means that nothing was applied, so they are sent again under the same key. Returns the ids that changed.
    """
    if state not in DECIDED:
        raise IllegalTransition(f"unknown rows do not become {state}; they become {', '.join(DECIDED)}")
    undone = {"attempts": 0, "first_sent_at": None, "next_attempt_at": None, "released_at": now}
    fresh = undone if state == "retry" else {}
    before = _by_id(book, conversion_ids)
    for name, row in before.items():
        if row["state"] != "unknown":
            raise IllegalTransition(f"{name}: is {row['state']}, only unknown rows are reconciled")
    change = {"state": state, "reason": reason, **fresh}
    return _change(book, [{"conversion_id": name, **change} for name in before], now, before)


def replay(book: Book, rows: pl.DataFrame, why: str, now: datetime) -> None:
    """Send rows again under the keys they have: they go to `retry`, and back to the state they have now where the
    replay ends no better. Which rows may be, `delivery.replaying` decides."""
    again = {"state": "retry", "reason": f"replay: {why}", "attempts": 0, "next_attempt_at": None, "updated_at": now}
    book.update(
        CONVERSION,
        [
            {
                "conversion_id": key,
                **again,
                "replayed_from": state,
                "first_sent_at": None if state == "rejected" else first,  # what was refused was not applied
            }
            for key, state, first in rows.select("conversion_id", "state", "first_sent_at").iter_rows()
        ],
    )


def plan_again(book: Book, rows: pl.DataFrame, reason: str, now: datetime) -> list[str]:
    """Plan rejected rows anew, after their cause is mended: each as the next revision, under a key of its own; a
    correction stays one of the same conversion and person. Returns the ids of the rejected ones.

    Raises:
        IllegalTransition: when a row is not rejected, or has a newer revision.
    """
    newest = book.read_keys(CONVERSION, "milestone_id", rows["milestone_id"]).group_by(_FACT).agg(pl.max("revision"))
    old = rows.join(newest, on=[*_FACT, "revision"], how="anti", nulls_equal=True)
    if old.height or (rows["state"] != "rejected").any():
        raise IllegalTransition("only the newest revision of a rejected conversion is planned again")
    parts = rows.select("destination", "account", "action", "milestone_id", pl.col("revision") + 1)
    keys = [delivery_key(*part) for part in parts.iter_rows()]
    kept = ("destination", "account", "action", "milestone", "milestone_id", "event_id", "kind", "adjusts", "cause")
    whom = {
        name: pl.when(pl.col("adjusts").is_not_null()).then(name) for name in ("person_id", "contact_id", "touch_id")
    }
    fact = ("occurred_at", "ready_at", "expires_at", "value", "currency")
    book.insert(
        CONVERSION,
        rows.select(
            *kept,
            *fact,
            **whom,
            conversion_id=pl.Series(keys, dtype=pl.String),
            revision=pl.col("revision") + 1,
            state=pl.lit("pending"),
            reason=pl.lit(reason),
            attempts=pl.lit(0, pl.Int64),
            released_at=pl.lit(now),
            planned_at=pl.lit(now),
            updated_at=pl.lit(now),
        ),
    )
    return rows["conversion_id"].to_list()


# --- inside


def _by_id(book: Book, conversion_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    wanted = sorted(set(conversion_ids))
    frame = book.read_keys(CONVERSION, "conversion_id", wanted)
    found = {row["conversion_id"]: row for row in frame.iter_rows(named=True)}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise IllegalTransition(f"{missing[0]}: no such conversion ({len(missing)} in all)")
    return {name: found[name] for name in wanted}


def _types(table: str, records: Sequence[Mapping[str, Any]]) -> dict[str, pl.DataType]:
    schema = CONTRACTS[table].polars_schema
    return {name: schema[name] for name in (records[0] if records else ())}


def _change(
    book: Book,
    changes: Sequence[Mapping[str, Any]],
    now: datetime,
    before: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[str]:
    """Write some columns of some rows, after the table of transitions has allowed each. All rows have one shape."""
    if not changes:
        return []
    before = before or _by_id(book, (str(change["conversion_id"]) for change in changes))
    differing = []
    for change in changes:
        row = before[change["conversion_id"]]
        if all(row[name] == value for name, value in change.items()):
            continue
        back = change["state"] is not None and change["state"] == row["replayed_from"]
        if not back and not is_legal(row["state"], row["reason"], change["state"]):
            raise IllegalTransition(f"{row['conversion_id']}: {row['state']} ({row['reason']}) -> {change['state']}")
        under_way = row["replayed_from"] if change["state"] in ("retry", "in_flight") else None
        differing.append({**change, "replayed_from": under_way, "updated_at": now})
    book.update(CONVERSION, differing)
    return sorted(str(change["conversion_id"]) for change in differing)


def _interrupted(book: Book, before: Mapping[str, Mapping[str, Any]], states: Mapping[str, str]) -> None:
    batches = sorted({row["batch_id"] for row in before.values()})
    _log(book, batches, {name: {"outcome": state, "code": "interrupted"} for name, state in states.items()}, None)


def _log(book: Book, batches: Sequence[str], results: Mapping[str, Mapping[str, object]], now: datetime | None) -> None:
    """Complete attempt rows; a row's answer is written once."""
    open_rows = book.read_keys(ATTEMPT, "batch_id", batches, _A.finished.is_(None))
    records = [
        {
            "batch_id": row["batch_id"],
            "conversion_id": row["conversion_id"],
            "finished": now,
            **results[row["conversion_id"]],
        }
        for row in open_rows.iter_rows(named=True)
        if row["conversion_id"] in results
    ]
    book.update(ATTEMPT, records)
