"""The next state of a conversion before a send and after an answer: pure rules, the same for every destination."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from crm_attribution.clock import iso
from crm_attribution.destinations.base import Destination, Limits, Outcome, Ready, Resolved
from crm_attribution.ledger.transitions import Claim, Settled
from crm_attribution.mapping import VolumeGuard

STICKY = frozenset({"volume_guard", "possible_duplicate"})
"""Holds that only a person lifts; every other hold is looked at again at each delivery."""

MARGIN = timedelta(hours=1)
"""A re-send must arrive well before the platform forgets our key."""


@dataclass(frozen=True)
class Policy:
    """How patient a delivery is.

    Attributes:
        attempts: sends of one conversion that failed by themselves, before it is given up.
        first_wait, longest_wait: of the exponential back-off between them.
        patience: seconds one delivery waits for a throttling platform in all; then it leaves the rest to the next.
        failures: requests in a row that fail before a delivery leaves the account alone.
        resends: requests one delivery spends on finding the rows a platform refuses batches for.
    """

    attempts: int = 8
    first_wait: timedelta = timedelta(minutes=5)
    longest_wait: timedelta = timedelta(hours=6)
    patience: float = 120.0
    failures: int = 3
    resends: int = 256


@dataclass(frozen=True)
class Row:
    """A row of `conversions.conversion`, as far as the rules look at it."""

    conversion_id: str
    account: str
    action: str
    milestone: str
    milestone_id: str
    kind: str
    occurred_at: datetime
    ready_at: datetime
    expires_at: datetime
    value: int | None
    currency: str | None
    person_id: str | None
    contact_id: int | None
    touch_id: str | None
    state: str
    reason: str | None
    attempts: int
    next_attempt_at: datetime | None
    first_sent_at: datetime | None
    payload_hash: str | None
    browser_event_id: str | None
    released_at: datetime | None
    replayed_from: str | None
    adjusts: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Row:
        return cls(**{item.name: record[item.name] for item in fields(cls)})

    @property
    def uncertain(self) -> bool:
        """Whether an earlier send may have been applied."""
        return self.first_sent_at is not None


KEPT = frozenset({"accepted", "processed"})
"""States that no replay takes a conversion out of: the platform has it."""


def end_of(row: Row, state: str) -> str:
    """The state a row goes to: one that is being replayed goes back to what the platform had said of it rather than to
    an end that would hide it."""
    if row.replayed_from in KEPT and state not in ("retry", *KEPT):
        return str(row.replayed_from)
    return state


@dataclass(frozen=True)
class Decision:
    """`send`, `wait` (leave it as it is), or the state to go to."""

    to: str
    reason: str | None = None


def recognised(first_sent_at: datetime | None, limits: Limits, now: datetime) -> bool:
    """Whether the platform would know a re-send as the one of `first_sent_at`."""
    if first_sent_at is None:
        return True
    return limits.dedupe is not None and now < first_sent_at + limits.dedupe - MARGIN


def decide(
    row: Row, resolved: Resolved | None, destination: Destination, account: str, when_absent: str, now: datetime
) -> Decision:
    """Whether a due row may be sent now.

    A row that an earlier send may have applied never ends as expired, suppressed or rejected: that would hide what
    the platform may count. It becomes unknown.
    """

    def end(state: str, reason: str) -> Decision:
        return Decision(end_of(row, "unknown" if row.uncertain else state), reason)

    if not recognised(row.first_sent_at, destination.limits, now):
        return end("unknown", "dedupe_window_passed")
    if row.expires_at <= now:
        return end("expired", "too_old")
    if resolved is not None and resolved.suppressed:
        return end("suppressed", resolved.suppressed)
    if resolved is not None and resolved.consent == "denied":
        return end("suppressed", "consent_denied")
    if row.kind not in destination.kinds:
        return end("suppressed", "not_adjustable")
    hold = _hold(row, resolved, destination, account, when_absent, now)
    if hold is not None and row.replayed_from in KEPT:
        return end("held", hold)  # a replay that cannot be sent now is over: the platform has it
    if hold is not None:
        return Decision("wait" if row.state == "retry" else "held", hold)
    if row.payload_hash is not None and resolved is not None and row.payload_hash != facts(row, resolved):
        return end("rejected", "payload_changed")
    return Decision("send")


def _hold(
    row: Row, resolved: Resolved | None, destination: Destination, account: str, when_absent: str, now: datetime
) -> str | None:
    if row.state == "held" and row.reason in STICKY:
        return row.reason
    if row.account != account:
        return "other_account"
    if resolved is None:
        return "unresolved"
    if resolved.held is not None:
        return resolved.held
    if resolved.consent == "absent" and when_absent != "send":
        return "consent_unknown"
    if row.occurred_at > now + destination.limits.future:
        return "in_future"
    return destination.accepts(ready(row, resolved))


def browser_ids(
    rows: Sequence[Row], resolved: Mapping[str, Resolved], taken: Mapping[tuple[str, str], str], scope: str | None
) -> dict[str, str]:
    """The ids of the browser's to send conversions under: fixed at the first claim, and of one conversion only.

    Args:
        rows: a batch.
        taken: (action, id) -> the conversion that was sent under it in this account.
        scope: `Destination.browser_events`.
    """
    used = {((action if scope == "action" else ""), name): key for (action, name), key in taken.items()}
    found: dict[str, str] = {}
    for row in rows:
        wanted = row.browser_event_id if row.payload_hash else resolved[row.conversion_id].browser_event_id
        if scope is None or wanted is None or row.kind != "conversion":
            continue
        place = (row.action if scope == "action" else "", wanted)
        if used.setdefault(place, row.conversion_id) == row.conversion_id:
            found[row.conversion_id] = wanted
    return found


def ready(row: Row, resolved: Resolved, browser_event_id: str | None = None) -> Ready:
    """The row with the identifiers of its person."""
    return Ready(
        conversion_id=row.conversion_id,
        action=row.action,
        kind=row.kind,
        occurred_at=row.occurred_at,
        value=row.value,
        currency=row.currency,
        consent=resolved.consent,
        adjusts=row.adjusts,
        adjusted_at=None if row.adjusts is None else row.ready_at,
        person_id=resolved.person_id,
        contact_id=resolved.contact_id,
        email=resolved.email,
        click_id=resolved.click_id,
        click_kind=resolved.click_kind,
        clicked_at=resolved.clicked_at,
        phone=resolved.phone,
        first_name=resolved.first_name,
        last_name=resolved.last_name,
        country=resolved.country,
        lead_id=resolved.lead_id,
        details=resolved.details,
        browser_event_id=browser_event_id,
    )


def facts(row: Row, resolved: Resolved) -> str:
    """Fingerprint of the content of one key. Without identifiers: an address that is corrected between two sends,
    or a payload that a newer version spells otherwise, is still the same event."""
    contact = None if resolved.contact_id is None else str(resolved.contact_id)  # rows claimed before have it as text
    parts = [
        *(row.conversion_id, row.account, row.action, row.kind, iso(row.occurred_at)),
        *(row.value, row.currency, resolved.person_id, contact, resolved.touch_id),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def claim(row: Row, resolved: Resolved, browser_event_id: str | None = None) -> Claim:
    whose = (resolved.person_id, resolved.contact_id, resolved.touch_id)
    return Claim(row.conversion_id, facts(row, resolved), *whose, browser_event_id)


def batches(
    keys: Sequence[str], actions: Mapping[str, str], kinds: Mapping[str, str], limits: Limits
) -> Iterator[list[str]]:
    """The rows in their order, as many as fit into one request.

    Args:
        actions, kinds: conversion_id -> action, and -> kind.
    """
    batch: list[str] = []
    named: set[str] = set()
    for key in keys:
        many = limits.actions is not None and len(named | {actions[key]}) > limits.actions
        other = limits.one_kind and batch and kinds[key] != kinds[batch[-1]]
        if batch and (many or other or len(batch) == limits.batch):
            yield batch
            batch, named = [], set()
        batch.append(key)
        named.add(actions[key])
    if batch:
        yield batch


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def guarded(sendable: Iterable[Row], sent: Mapping[tuple[str, datetime], int], guard: VolumeGuard) -> set[str]:
    """The rows of hours with suspiciously many conversions of one milestone (a bulk edit, not a good day).

    An hour is suspicious above max(minimum, factor x the busiest hour of the `days` before it). What is held does not
    count as precedent for later hours; what a person released and what was sent does.

    Args:
        sendable: rows never sent that nothing else holds, those it held before among them.
        sent: how many were sent already, by milestone and hour of `ready_at`.
    """
    waiting: dict[tuple[str, datetime], list[Row]] = {}
    for row in sendable:
        waiting.setdefault((row.milestone, hour_of(row.ready_at)), []).append(row)
    volumes = Counter(sent)
    held: set[str] = set()
    for (milestone, hour), rows in sorted(waiting.items(), key=lambda item: item[0]):
        since = hour - timedelta(days=guard.days)
        busiest = max(
            (count for (name, when), count in volumes.items() if name == milestone and since <= when < hour), default=0
        )
        free = [row for row in rows if row.released_at is not None]
        total = volumes[milestone, hour] + len(rows)
        if total > max(guard.floor, guard.factor * busiest):
            held |= {row.conversion_id for row in rows} - {row.conversion_id for row in free}
            volumes[milestone, hour] += len(free)
        else:
            volumes[milestone, hour] = total
    return held


def recovered(row: Row, limits: Limits, policy: Policy, now: datetime) -> str:
    """Where a row goes whose sender is gone: bytes may have left."""
    safe = recognised(row.first_sent_at or now, limits, now) and row.attempts < policy.attempts
    return "retry" if safe else end_of(row, "unknown")


def settled(
    outcome: Outcome, row: Row, limits: Limits, policy: Policy, now: datetime, jitter: Callable[[], float]
) -> Settled:
    """What an answer does to a row.

    Args:
        row: as it was before this send.
        jitter: draws from [0, 1).
    """
    name, code = row.conversion_id, outcome.code
    tries = row.attempts + 1
    again = now + _back_off(outcome, tries, policy, jitter)
    undone = not row.uncertain
    match outcome.verdict:
        case "accepted":
            return Settled(name, "accepted", code)
        case "rejected" if code == "too_old" and row.uncertain:
            # Young enough at an earlier send, which may have been applied.
            return Settled(name, end_of(row, "unknown"), code)
        case "rejected":
            return Settled(name, end_of(row, "rejected"), code)
        case "refused" | "throttled" | "stopped" | "unsent":
            return Settled(name, "retry", code, charged=False, undone=undone)
        case "transient" if tries < policy.attempts:
            return Settled(name, "retry", code, undone=undone, next_attempt_at=again)
        case "transient":
            return Settled(name, end_of(row, "rejected" if undone else "unknown"), "attempts_spent", undone=undone)
        case "uncertain":
            safe = recognised(row.first_sent_at or now, limits, now) and tries < policy.attempts
            state = "retry" if safe else end_of(row, "unknown")
            return Settled(name, state, code, next_attempt_at=again if safe else None)


def _back_off(outcome: Outcome, tries: int, policy: Policy, jitter: Callable[[], float]) -> timedelta:
    """Exponential with full jitter, never less than the platform asks for."""
    ceiling: timedelta = min(policy.longest_wait, policy.first_wait * float(1 << min(tries - 1, 20)))
    return max(ceiling * jitter(), outcome.retry_after or timedelta(0))
