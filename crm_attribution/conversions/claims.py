"""What a delivery fixes on a row before it sends, and what the answer does to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Claim:
    """One row of a batch about to be sent, and what is fixed from now on."""

    conversion_id: str
    payload_hash: str
    person_id: str | None
    contact_id: int | None
    touch_id: str | None


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
