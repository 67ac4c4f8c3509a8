"""How fast we ask, and how long we keep asking."""

from __future__ import annotations

import random
from typing import NoReturn

import tenacity
from pyrate_limiter import Limiter, Rate

from crm_attribution.errors import Retryable


class Budget:
    """At most `share` of `limit` calls in any `seconds`; waits where more are asked for.

    One budget object is handed to every client of the process: the other side counts us together. The share
    leaves room because urllib3, clocks and networks bunch calls together.
    """

    def __init__(self, limit: int, seconds: float, *, share: float = 0.9) -> None:
        self.allowed = max(1, int(limit * share))
        self._limiter = Limiter(Rate(self.allowed, max(1, round(seconds * 1000))))

    def acquire(self, name: str, timeout: float) -> bool:
        """Wait for one call's room, `timeout` seconds at most; whether there was room."""
        return bool(self._limiter.try_acquire(name, timeout=max(0.0, timeout)))


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
