"""HubSpot's rate limits: windows of real time, and a day of the account's time zone by the sandbox's clock.

https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines: Free/Starter has 100 calls in 10
seconds and 250,000 a day, shared by the account's private apps; an OAuth app has 110 in 10 seconds and no day. Search
has five a second separately. Nothing there takes a search out of the day, so it is counted like any other call (an
assumption).
"""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

DAILY = 250_000


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
        return max(self.most - len(self._calls), 0)


class DailyQuota:
    """So many calls in a day of a time zone."""

    def __init__(self, most: int = DAILY) -> None:
        self.most, self.used = most, 0
        self._day: date | None = None

    def look(self, now: int, zone: str) -> datetime:
        """Start a new day where one has begun; when the current one ends."""
        place = ZoneInfo(zone)
        today = datetime.fromtimestamp(now / 1000, UTC).astimezone(place).date()
        if today != self._day:
            self._day, self.used = today, 0
        tomorrow = today + timedelta(days=1)
        return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=place).astimezone(UTC)

    def take(self, now: int, zone: str, *, hold: bool) -> bool:
        """Count a call; where limits `hold`, False when the day is used up, and then it is not counted."""
        self.look(now, zone)
        if hold and self.used >= self.most:
            return False
        self.used += 1
        return True

    @property
    def remaining(self) -> int:
        return max(self.most - self.used, 0)


class Limits:
    """The limiters of an account.

    Attributes:
        on: whether they refuse anything; page sizes and caps always hold.
    """

    def __init__(self, *, on: bool = True) -> None:
        self.on = on
        self.day = DailyQuota()
        self.burst = RollingWindow(100, 10.0)
        self.associations = RollingWindow(100, 10.0)
        self.search = RollingWindow(5, 1.0)
        self.oauth = RollingWindow(110, 10.0)
        self._named: dict[str, DailyQuota | RollingWindow] = {
            "daily": self.day,
            "burst": self.burst,
            "associations": self.associations,
            "search": self.search,
            "oauth": self.oauth,
        }

    def change(self, raw: Any) -> None:
        """Set limits by name, all or none.

        Raises:
            ValueError: naming the field that is not understood.
        """
        known = ["on", *self._named]
        if not isinstance(raw, dict) or not set(raw) <= set(known):
            raise ValueError(f"the body is an object of {', '.join(known)}")
        for name, value in raw.items():
            if isinstance(value, bool) != (name == "on") or not isinstance(value, int) or value < 0:
                raise ValueError(f"`{name}` has the wrong type")
        self.on = raw.get("on", self.on)
        for name, limiter in self._named.items():
            limiter.most = raw.get(name, limiter.most)

    def shown(self) -> dict[str, Any]:
        """As the control path answers it."""
        return {"on": self.on, **{name: limiter.most for name, limiter in self._named.items()}, "used": self.day.used}
