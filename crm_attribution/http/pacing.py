"""How fast we ask, and how long we keep asking."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import tenacity

from crm_attribution.errors import Retryable


class Budget:
    """At most `share` of `limit` calls in any `seconds`; waits where more are asked for.

    One budget object is handed to every client of the process: the other side counts us together. The share
    leaves room because urllib3, clocks and networks bunch calls together. The limit may change while calls wait:
    a lower one counts what was already let through.
    """

    def __init__(
        self, limit: int, seconds: float, *, share: float = 0.9, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._share, self._monotonic = share, monotonic
        self._taken: deque[float] = deque()
        self._changed = threading.Condition()
        self.seconds = seconds
        self.adjust(limit)

    @property
    def per_second(self) -> float:
        """How many calls a second it lets through in the long run."""
        return self.allowed / self.seconds

    def adjust(self, limit: int, seconds: float | None = None) -> None:
        """From now on at most `share` of `limit` calls in any `seconds` (as before where not given)."""
        with self._changed:
            self.limit, self.allowed = limit, max(1, int(limit * self._share))
            self.seconds = self.seconds if seconds is None else seconds
            self._changed.notify_all()

    def acquire(self, timeout: float) -> bool:
        """Wait for one call's room, `timeout` seconds at most; whether there was room."""
        with self._changed:
            until = self._monotonic() + max(0.0, timeout)
            while (wait := self._wait()) > 0:
                left = until - self._monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(wait, left))
            self._taken.append(self._monotonic())
            return True

    def _wait(self) -> float:
        """Seconds until there is room for one more; never less than it takes."""
        now = self._monotonic()
        while self._taken and self._taken[0] <= now - self.seconds:
            self._taken.popleft()
        surplus = len(self._taken) - self.allowed
        return 0.0 if surplus < 0 else self._taken[surplus] + self.seconds - now


class Patience:
    """How long to wait before the next attempt and when to give up.

    Being throttled (asked to wait, nothing applied) is bounded by the deadline alone: it must not use up the
    attempts meant for real failures.
    """

    def __init__(self, attempts: int, deadline: float, rng: random.Random) -> None:
        self._attempts, self._deadline, self._rng = attempts, deadline, rng
        self._failures = self._throttles = 0

    def wait(self, state: tenacity.RetryCallState) -> float:
        error = _retryable(state)
        if error.retry_after is not None and not error.sent:
            self._throttles += 1
            return max(error.retry_after, min(self._throttles, 10.0)) + self._rng.uniform(0, 1)
        self._failures += 1
        return (error.retry_after or 0.0) + self._rng.uniform(0, min(30.0, 0.5 * 2.0**self._failures))

    def stop(self, state: tenacity.RetryCallState) -> bool:
        elapsed = max(state.idle_for, state.seconds_since_start or 0.0)
        return self._failures >= self._attempts or elapsed + state.upcoming_sleep > self._deadline

    def give_up(self, state: tenacity.RetryCallState) -> NoReturn:
        error = _retryable(state)
        spent = f"gave up after {state.attempt_number} attempts"
        raise Retryable(f"{error}; {spent}", retry_after=error.retry_after, sent=error.sent)


def _retryable(state: tenacity.RetryCallState) -> Retryable:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, Retryable) else Retryable("not a retryable failure")
