"""Rate limits in real time."""

from __future__ import annotations

import time
from collections import deque


class RollingWindow:
    """So many calls in any window of so many seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._calls: deque[float] = deque()

    def take(self) -> bool:
        """Count a call; False when the window is full, and then it is not counted."""
        now = time.monotonic()
        while self._calls and self._calls[0] <= now - self.seconds:
            self._calls.popleft()
        if len(self._calls) >= self.most:
            return False
        self._calls.append(now)
        return True

    @property
    def remaining(self) -> int:
        return self.most - len(self._calls)
