"""Which state of a conversion may follow which: decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from crm_attribution.errors import Terminal

TRANSITIONS: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"in_flight", "held", "suppressed", "expired"}),
    "held": frozenset({"pending", "suppressed", "expired"}),
    "in_flight": frozenset({"accepted", "rejected", "retry", "unknown"}),
    # To unknown: sent once with an unknown end, and the platform's duplicate window has passed since.
    "retry": frozenset({"in_flight", "rejected", "suppressed", "expired", "unknown"}),
    "unknown": frozenset({"accepted", "retry", "rejected"}),
    # By what a platform says later became of a request it took; only `moves.finish` does that.
    "accepted": frozenset(),
    "processed": frozenset(),
    "rejected": frozenset(),
    # What a platform cannot be told: a record of what it believes wrongly.
    "not_adjustable": frozenset(),
    "suppressed": frozenset(),
    "expired": frozenset(),
}
"""State -> where it may go. Two kinds of suppressed rows may also become pending: `before_activation`, when history is
released, and `duplicate`, when what had become one fact is two again."""

WAITING = frozenset({"pending", "held", "retry"})
"""States in which a row may stay for another reason."""

RELEASABLE = {"volume_guard": "held", "possible_duplicate": "held", "before_activation": "suppressed"}
"""Reason a person can lift -> the state it keeps rows in."""

DECIDED = ("accepted", "rejected", "retry")
"""What a person may decide of an unknown row."""


class IllegalTransition(Terminal):
    """A step the state machine does not know, or a key about to be used for another event: a defect."""


@dataclass(frozen=True)
class Move:
    """A row goes to a state (or keeps it) for a reason."""

    conversion_id: str
    state: str
    reason: str | None = None


@dataclass(frozen=True)
class Claim:
    """One row of a batch about to be sent, and what is fixed from now on."""

    conversion_id: str
    payload_hash: str
    person_id: str | None
    contact_id: int | None
    touch_id: str | None
    browser_event_id: str | None = None


@dataclass(frozen=True)
class Settled:
    """What an answer does to one row.

    Attributes:
        charged: whether the send counts as an attempt.
        undone: nothing can have been applied by any send, so the platform's duplicate window has not begun.
    """

    conversion_id: str
    state: str
    code: str | None
    charged: bool = True
    undone: bool = False
    next_attempt_at: datetime | None = None


def is_legal(before: str, reason: str | None, after: str) -> bool:
    """Whether a row in state `before` for `reason` may go to `after`."""
    if before == "suppressed" and after == "pending":
        return reason in ("before_activation", "duplicate")
    return after in TRANSITIONS[before] or (after == before and before in WAITING)
