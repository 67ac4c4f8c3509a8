"""How much HubSpot lets us ask: one budget per limiter, and the account's day.

What HubSpot's headers say wins; settings and documented defaults apply where there are none (search never has
any, OAuth apps have no daily ones).
https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm_attribution.clock import Clock, iso
from crm_attribution.errors import QuotaExhausted
from crm_attribution.http.answers import Answer
from crm_attribution.http.pacing import Budget

BURST, OAUTH_BURST, SEARCH = 100, 110, 5
_PREFIX = "X-HubSpot-RateLimit-"


def hubspot_budgets(*, burst: int = BURST, search: int = SEARCH, share: float = 0.9) -> dict[str, Budget]:
    """HubSpot's limiters: `burst` calls per 10 s and app (100 Free/Starter, 190 Professional/Enterprise, 110 for an
    OAuth app), associations by themselves, and 5 searches per second and account."""
    return {
        "burst": Budget(burst, 10, share=share),
        "associations": Budget(associations_limit(burst), 10, share=share),
        "search": Budget(search, 1, share=share),
    }


def associations_limit(burst: int) -> int:
    """Calls per 10 s of the associations API, in addition to a burst limit: 100, 150 or, with the add-on, 200
    (https://developers.hubspot.com/docs/api/crm/associations). Right also where the headers of its answers give its
    own limit."""
    return min(burst, 100 if burst <= 100 else 150 if burst <= 190 else 200)


class Limits:
    """The limits of one account and app, for every client of the process.

    Args:
        clock: decides which day it is.
        burst: calls per 10 s; a ceiling where HubSpot's headers allow more.
        daily: calls a day where no header says so.
        reserve: share of the daily quota that is left to the account's other apps.
        oauth: whether an OAuth app asks.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        burst: int | None = None,
        daily: int | None = None,
        reserve: float = 0.02,
        oauth: bool = False,
    ) -> None:
        self._clock, self._ceiling, self._reserve = clock, burst, reserve
        self.budgets = hubspot_budgets(burst=burst or (OAUTH_BURST if oauth else BURST))
        self.daily = daily
        self.remaining: int | None = None
        self.time_zone: ZoneInfo | None = None
        self._stopped: datetime | None = None

    @property
    def kept(self) -> int:
        """Calls of the day that are not ours."""
        return ceil((self.daily or 0) * self._reserve)

    def in_time_zone(self, name: str | None) -> None:
        """The account's time zone, by its IANA name; one that is not known here changes nothing."""
        try:
            self.time_zone = ZoneInfo(name) if name else self.time_zone
        except (ZoneInfoNotFoundError, ValueError):
            self.time_zone = None

    def before(self) -> None:
        """Stops where only the reserve is left of the day.

        Raises:
            QuotaExhausted: until the account's midnight.
        """
        if self._stopped is None:
            return
        if self._clock.now() >= self.renews_at(self._stopped):
            self._stopped = self.remaining = None
            return
        raise QuotaExhausted(
            f"hubspot: {self.remaining} of {self.daily} calls are left for today and {self.kept} are kept for the"
            f" account's other apps (HUBSPOT_DAILY_RESERVE); the quota is renewed {self.renewal()}, and the next run"
            " continues where this one stopped"
        )

    def after(self, budget: str, answer: Answer) -> None:
        """Learn from an answer's headers."""
        most, millis = (_number(answer.headers, name) for name in ("Max", "Interval-Milliseconds"))
        if most and budget in self.budgets and budget != "search":
            allowed = min(most, self._ceiling or most)
            self._adjust(budget, associations_limit(allowed) if budget == "associations" else allowed, millis)
        daily, remaining = (_number(answer.headers, name) for name in ("Daily", "Daily-Remaining"))
        if daily and remaining is not None:
            self.daily, self.remaining = daily, remaining
            self._stopped = self._clock.now() if remaining <= self.kept else None

    def _adjust(self, name: str, limit: int, millis: int | None) -> None:
        budget, seconds = self.budgets[name], (millis or 10_000) / 1000
        if (budget.limit, budget.seconds) != (limit, seconds):
            budget.adjust(limit, seconds)

    def renews_at(self, moment: datetime) -> datetime:
        """The first midnight of the account's time zone after `moment`, UTC."""
        zone = self.time_zone or UTC
        tomorrow = moment.astimezone(zone).date() + timedelta(days=1)
        return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone).astimezone(UTC)

    def renewal(self) -> str:
        """When the day's quota is renewed, for messages."""
        if self.time_zone is None:
            return "at midnight of the account's time zone"
        moment = self.renews_at(self._clock.now())
        return f"at midnight {self.time_zone.key}, {iso(moment)}"

    def figures(self) -> dict[str, int | str | float]:
        """For metadata: what is known of the day's quota."""
        known: dict[str, int | None] = {"calls per day": self.daily, "calls left today": self.remaining}
        return {name: value for name, value in known.items() if value is not None}


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(_PREFIX + name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
