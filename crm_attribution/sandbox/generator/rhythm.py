"""When things happen: offices work on weekdays, visitors click at other hours too."""

from __future__ import annotations

import random
from dataclasses import dataclass

from crm_attribution.sandbox.generator.lines import DAY, HOUR, MINUTE, whole

_OPENS, _CLOSES = 8, 18


@dataclass(frozen=True)
class Region:
    """Where an account works.

    Attributes:
        offset: hours ahead of UTC (no daylight saving: an hour's error does not matter to an invented portal).
    """

    name: str
    offset: int
    countries: tuple[str, ...]
    currency: str


EUROPE = Region("eu", 1, ("DE", "DE", "DE", "AT", "CH", "NL", "FR"), "EUR")
AMERICA = Region("us", -5, ("US", "US", "US", "CA"), "USD")


def local(at: int, region: Region) -> tuple[int, float]:
    """Weekday (Monday is 0) and hour of the day, in the region."""
    shifted = at + region.offset * HOUR
    return (shifted // DAY + 3) % 7, shifted % DAY / HOUR


def _visits(at: int, region: Region) -> float:
    """How busy the website is, from 0 to 1."""
    weekday, hour = local(at, region)
    if weekday >= 5:
        return 0.06
    if _OPENS <= hour < _CLOSES:
        return 0.65 if 12 <= hour < 13 else 1.0
    return 0.18 if 6 <= hour < 23 else 0.02


def visit(rng: random.Random, low: int, high: int, region: Region) -> int:
    """An instant in [low, high] at which a person of this region is likely to click."""
    at = low
    for _ in range(40):
        at = low + int(rng.random() * (high - low))
        if rng.random() < _visits(at, region):
            break
    return max(low, whole(at))


def at_work(rng: random.Random, at: int, region: Region) -> int:
    """The same instant if the office is open, else in the first hours of its next day."""
    for _ in range(8):
        weekday, hour = local(at, region)
        if weekday < 5 and _OPENS <= hour < _CLOSES:
            return whole(at)
        midnight = at - int(hour * HOUR)
        days = 0 if hour < _OPENS else 1
        at = midnight + days * DAY + _OPENS * HOUR + int(rng.random() * 150 * MINUTE)
    return whole(at)


def later(rng: random.Random, at: int, hours: float, region: Region) -> int:
    """Some working time after `at`: about `hours` later, seldom less than a third of it."""
    delay = hours * (0.35 + rng.expovariate(1.5))
    return at_work(rng, at + int(delay * HOUR), region)
