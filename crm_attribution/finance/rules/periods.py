"""Which months a command closes or reopens: closed months have no gap, so that a bridge over them never moves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from crm_attribution.errors import ConfigurationError

CLOSED, OPEN = "closed", "open"


def month_after(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def _span(first: date, last: date) -> list[date]:
    months = [first]
    while months[-1] < last:
        months.append(month_after(months[-1]))
    return months


def closed_through(states: Mapping[date, str]) -> date | None:
    """The last month that is closed."""
    return max((month for month, state in states.items() if state == CLOSED), default=None)


def to_close(
    month: date, states: Mapping[date, str], first: date | None, known: datetime, time_zone: str
) -> list[date]:
    """The months that closing one closes: with it all before it that are open.

    Args:
        month: its first day.
        states: months with a row -> closed or open.
        first: the first month that has figures.
        known: up to when the figures are complete, UTC.
        time_zone: the account's, of finance months.

    Raises:
        ConfigurationError: when the month is not over in what is known, or is closed.
    """
    ends = datetime.combine(month_after(month), datetime.min.time(), ZoneInfo(time_zone)).astimezone(UTC)
    if known < ends:
        raise ConfigurationError(
            f"{month:%Y-%m} ends at {ends:%Y-%m-%dT%H:%MZ}, and the figures are known up to {known:%Y-%m-%dT%H:%MZ}:"
            " close it after the hour that ends then has run"
        )
    through = closed_through(states)
    if through is not None and through >= month:
        raise ConfigurationError(f"{month:%Y-%m} is closed; everything up to {through:%Y-%m} is")
    return _span(min(first or month, month) if through is None else month_after(through), month)


def to_reopen(month: date, states: Mapping[date, str]) -> list[date]:
    """The months that reopening one reopens: with it all after it that are closed.

    Raises:
        ConfigurationError: when the month is open.
    """
    if states.get(month) != CLOSED:
        through = closed_through(states)
        held = f"closed is everything up to {through:%Y-%m}" if through else "no month is closed"
        raise ConfigurationError(f"{month:%Y-%m} is open: {held}")
    return sorted(one for one, state in states.items() if one >= month and state == CLOSED)
