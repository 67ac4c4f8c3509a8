"""How long one delivery continues with a platform that throttles, fails or refuses whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from crm_attribution.delivery.rules import Policy


@dataclass
class Pace:
    """The patience of one delivery, as it is used up."""

    policy: Policy
    failures: int = 0
    throttles: int = 0
    waited: float = 0.0
    resends: int = 0

    def answered(self) -> None:
        """The platform gave a usable answer: failures before it no longer count."""
        self.failures = 0

    def failed(self) -> bool:
        """A request failed; whether it is time to leave the account alone."""
        self.failures += 1
        return self.failures >= self.policy.failures

    def throttled(self, asked: timedelta | None) -> tuple[float, bool]:
        """Seconds to pause, and whether this delivery can wait that long. Pauses grow even where none is asked for."""
        doubling = 2.0 ** min(self.throttles, 12)
        self.throttles += 1
        pause = 5.0 * doubling if asked is None else max(asked.total_seconds(), doubling)
        waits = self.waited + pause <= self.policy.patience
        if waits:
            self.waited += pause
        return pause, waits

    def parts(self, keys: list[str], sent: int) -> list[list[str]] | None:
        """How to send the rows of a refused request again: in halves, or together where the platform has named the
        bad ones. None where this delivery has searched long enough."""
        self.resends += 1
        if self.resends > self.policy.resends:
            return None
        middle = len(keys) // 2
        return [keys] if len(keys) < sent else [part for part in (keys[:middle], keys[middle:]) if part]
