"""What platforms must be told about conversions they have: a value that changed, a win that is gone, two that are one.

Pure rules over rows of conversions.conversion. A row that tells a platform so is a revision of its own (`adjusts` names
the conversion): one at a time, so that they arrive in their order, and at most one an hour. Where a platform takes
none, the row is `not_adjustable` and says what the platform believes wrongly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from crm_attribution.identifiers import delivery_key

Row = Mapping[str, Any]
Amount = tuple[int | None, str | None]

OPEN = ("pending", "held", "not_adjustable")
BUSY = ("in_flight", "retry", "unknown")


@dataclass(frozen=True)
class Platform:
    """What a destination takes.

    Attributes:
        kinds: of conversion, restatement, retraction.
        taken: states in which it has a conversion: `accepted`, or `processed` alone where it says so later.
        adjust_age: how long after a conversion it takes an adjustment of it.
        max_age: how old a conversion may be.
    """

    kinds: frozenset[str]
    taken: frozenset[str]
    adjust_age: timedelta
    max_age: timedelta


@dataclass(frozen=True)
class Fact:
    """A business fact as it is now.

    Attributes:
        key: of the milestone that carries it.
        live: whether it stands.
        why: why it does not: `archived`, `lost`, …
        values: action -> what its rule sends now.
    """

    key: str
    live: bool
    why: str | None
    occurred_at: datetime
    values: Mapping[str, Amount]


@dataclass
class Adjustments:
    """Rows to add, rows that were not sent and get other values, and moves (conversion_id, state, reason)."""

    new: list[dict[str, Any]] = field(default_factory=list)
    changed: list[dict[str, Any]] = field(default_factory=list)
    moved: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """What a platform should believe of a conversion; `value` None: that there is none."""

    value: Amount | None
    cause: str
    occurred_at: datetime | None = None


def adjust(
    platform: Platform, rows: Iterable[Row], facts: Mapping[str, Fact], ready_at: datetime, now: datetime
) -> Adjustments:
    """Compare what a platform believes with what is.

    Args:
        rows: every row of the account that is about one of the facts, of won and expanded milestones.
        facts: event id -> the fact it belongs to now; an event without one has lost its fact.
        ready_at: when what is planned may be sent.
        now: log time.
    """
    done = Adjustments()
    by_action: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_action[row["account"], row["action"]].append(row)
    for (_, action), mine in by_action.items():
        chains = _chains(platform, mine)
        standing = _standing(chains, facts)
        for chain in chains:
            _adjust_one(platform, chain, _wanted(chain, standing, facts, action), mine, done, ready_at, now)
    return done


@dataclass
class Chain:
    """A conversion the platform has, and what it was told about it since; oldest first.

    `sure` is false where it has told that of several some failed and not which: it may not have this one.
    """

    base: Row
    told: list[Row]
    believed: Amount | None
    open: Row | None
    busy: bool
    sure: bool


def _chains(platform: Platform, rows: Sequence[Row]) -> list[Chain]:
    later: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["revision"]):
        if row["adjusts"] is not None:
            later[row["adjusts"]].append(row)
    chains = []
    for base in rows:
        sure = base["state"] in platform.taken
        if base["kind"] != "conversion" or not (sure or _may_be_taken(base)):
            continue
        told = later[base["conversion_id"]]
        believed: Amount | None = (base["value"], base["currency"])
        for row in told:
            if row["state"] in platform.taken or _may_be_taken(row):
                believed = None if row["kind"] == "retraction" else (row["value"], row["currency"])
        waiting = [row for row in told if row["state"] in OPEN and row["attempts"] == 0]
        busy = any(row["state"] in BUSY or (row["state"] == "accepted" and "accepted" not in platform.taken
                                            and not _may_be_taken(row)) for row in told)  # fmt: skip
        chains.append(Chain(base, told, believed, waiting[-1] if waiting else None, busy, sure))
    return sorted(
        chains, key=lambda one: (one.base["first_sent_at"] or one.base["ready_at"], one.base["conversion_id"])
    )


def _may_be_taken(row: Row) -> bool:
    """Whether all is said of it, and that is not which of several failed."""
    return (row["state"], row["reason"]) == ("accepted", "partly_processed")


def _standing(chains: Sequence[Chain], facts: Mapping[str, Fact]) -> dict[str, str]:
    """Fact -> the conversion that stands for it: of several (a merge) the one sent first that is still believed."""
    found: dict[str, str] = {}
    for chain in chains:
        fact = facts.get(chain.base["milestone_id"])
        if fact is not None and fact.live and chain.believed is not None:
            found.setdefault(fact.key, chain.base["conversion_id"])
    for chain in reversed(chains):  # all of them taken back: the last one tells of it anew
        fact = facts.get(chain.base["milestone_id"])
        if fact is not None and fact.live:
            found.setdefault(fact.key, chain.base["conversion_id"])
    return found


def _wanted(chain: Chain, standing: Mapping[str, str], facts: Mapping[str, Fact], action: str) -> Wanted | None:
    """None: nothing to tell, since it is not known what it should believe."""
    fact = facts.get(chain.base["milestone_id"])
    if fact is None:
        return Wanted(None, "gone")
    if not fact.live:
        return Wanted(None, fact.why or "reversed")
    if standing[fact.key] != chain.base["conversion_id"]:
        return Wanted(None, "merged")
    value = fact.values.get(action)
    if value is None or value[0] is None:  # the rule is gone, or the amount is not known now
        return None
    before = chain.believed
    cause = "reopened" if before is None or before[0] == 0 else "amount" if before[1] == value[1] else "currency"
    return Wanted(value, cause, fact.occurred_at)


def _adjust_one(
    platform: Platform,
    chain: Chain,
    wanted: Wanted | None,
    rows: Sequence[Row],
    done: Adjustments,
    ready_at: datetime,
    now: datetime,
) -> None:
    if wanted is None or chain.busy:
        return
    kind, amount = _as_told(platform, wanted, chain)
    if chain.believed == (None if kind == "retraction" else amount):
        if chain.open is not None and chain.open["state"] != "not_adjustable":
            done.moved.append((chain.open["conversion_id"], "suppressed", "superseded"))
        elif chain.open is not None:
            done.changed.append(_values(chain.open, kind, amount, wanted.cause))
        return
    if chain.open is not None:
        fresh = _values(chain.open, kind, amount, wanted.cause)
        if any(chain.open[name] != value for name, value in fresh.items()):
            done.changed.append(fresh)
        return
    if kind == "conversion" and _told_anew(chain, rows, done.new):
        return
    if _ended(chain, kind, amount):
        return
    done.new.append(_row(platform, chain, kind, amount, wanted, [*rows, *done.new], ready_at, now))


def _ended(chain: Chain, kind: str, amount: Amount) -> bool:
    """Whether the platform was told exactly this last, and it has ended without being taken: that is said once, and a
    person plans it again (`crm-attribution resolve --as again`)."""
    last = chain.told[-1] if chain.told else None
    if last is None or last["state"] not in ("rejected", "expired", "suppressed") or last["reason"] == "superseded":
        return False
    return (last["kind"], last["value"], last["currency"]) == (kind, *amount)


def _told_anew(chain: Chain, rows: Sequence[Row], planned: Sequence[Row]) -> bool:
    """Whether a conversion that takes the place of one that was taken back was planned, whatever has become of it."""
    base = chain.base
    return any(
        row["kind"] == "conversion"
        and row["revision"] > base["revision"]
        and (row["action"], row["milestone_id"]) == (base["action"], base["milestone_id"])
        and row["state"] != "suppressed"
        for row in (*rows, *planned)
    )


def _as_told(platform: Platform, wanted: Wanted, chain: Chain) -> tuple[str, Amount]:
    """Kind and value of the row that tells it: a platform without retractions is told that the value is nothing."""
    if wanted.value is not None:
        return ("conversion" if chain.believed is None else "restatement"), wanted.value
    currency = chain.base["currency"]
    if "retraction" in platform.kinds or "restatement" not in platform.kinds:
        return "retraction", (0 if currency else None, currency)
    return "restatement", (0 if currency else None, currency)


def _values(row: Row, kind: str, amount: Amount, cause: str) -> dict[str, Any]:
    named = {"conversion_id": row["conversion_id"], "kind": kind, "value": amount[0], "currency": amount[1]}
    return {**named, "cause": cause}


def _row(
    platform: Platform,
    chain: Chain,
    kind: str,
    amount: Amount,
    wanted: Wanted,
    rows: Sequence[Row],
    ready_at: datetime,
    now: datetime,
) -> dict[str, Any]:
    base = chain.base
    of_fact = [row["revision"] for row in rows
               if (row["action"], row["milestone_id"]) == (base["action"], base["milestone_id"])]  # fmt: skip
    revision = max(of_fact) + 1
    key = delivery_key(base["destination"], base["account"], base["action"], base["milestone_id"], revision)
    kept = ("destination", "account", "action", "milestone", "milestone_id", "event_id")
    occurred = (wanted.occurred_at if kind == "conversion" else None) or base["occurred_at"]
    expires = occurred + (platform.max_age if kind == "conversion" else platform.adjust_age)
    reason = wanted.cause if kind not in platform.kinds else "window_passed" if expires <= now else None
    if wanted.value is None and not chain.sure:  # a value of 0 for what is not there would make it a conversion
        reason = reason or "partly_processed"
    told = {} if kind == "conversion" else {name: base[name] for name in ("person_id", "contact_id", "touch_id")}
    return {
        **{name: base[name] for name in kept},
        **told,
        "conversion_id": key,
        "kind": kind,
        "revision": revision,
        "adjusts": None if kind == "conversion" else base["conversion_id"],
        "cause": wanted.cause,
        "occurred_at": occurred,
        "value": amount[0],
        "currency": amount[1],
        "ready_at": ready_at,
        "expires_at": expires,
        "state": "pending" if reason is None else "not_adjustable",
        "reason": reason,
        "attempts": 0,
        "planned_at": now,
        "updated_at": now,
    }
