"""HubSpot's limiters: one budget each, learned from headers; the day ends at the account's midnight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution.clock import parse_instant
from crm_attribution.errors import QuotaExhausted
from crm_attribution.http.pacing import Budget
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.limits import Limits
from crm_attribution_tests.http.scripted import Scripted, reply, serving

EVENING = parse_instant("2026-03-07T23:30:00-05:00")
"""The clocks of US/Eastern go forward at two o'clock of the next night."""


@dataclass
class Watch:
    """A clock a test can move."""

    moment: datetime = EVENING
    is_wall: bool = False

    def now(self) -> datetime:
        return self.moment


def headers(most: int, daily: int = 250_000, remaining: int = 200_000, interval: int = 10_000) -> dict[str, str]:
    return {
        "X-HubSpot-RateLimit-Max": str(most),
        "X-HubSpot-RateLimit-Interval-Milliseconds": str(interval),
        "x-hubspot-ratelimit-daily": str(daily),
        "X-HubSpot-RateLimit-Daily-Remaining": str(remaining),
    }


def connected(server: Scripted, limits: Limits, slept: Callable[[float], None] = lambda _: None) -> HubSpotClient:
    return HubSpotClient(
        Transport(server.url, service="hubspot", budgets=limits.budgets, watch=limits, sleep=slept, attempts=2)
    )


Step = tuple[float, int | None]


@given(
    limit=st.integers(1, 12),
    steps=st.lists(
        st.tuples(st.floats(0, 4, allow_nan=False), st.none() | st.integers(1, 12)), min_size=1, max_size=120
    ),
)
def test_no_window_ever_holds_more_than_the_limit_of_its_end(limit: int, steps: list[Step]):
    """At every call let through, the window that ends there holds no more calls than are allowed at that moment; and
    a call is only turned away when the window is full."""
    now = 100.0
    taken: list[float] = []
    budget = Budget(limit, 10, share=1, monotonic=lambda: now)
    for pause, changed in steps:
        now += pause
        if changed is not None:
            budget.adjust(changed)
            limit = changed
        let_through = budget.acquire(0)
        window = [moment for moment in taken if now - 10 < moment]
        assert let_through == (len(window) < limit)
        taken += [now] if let_through else []


def test_a_higher_limit_lets_those_go_who_wait():
    budget = Budget(1, 60, share=1)
    assert budget.acquire(0)
    assert not budget.acquire(0.01)
    budget.adjust(2)
    assert budget.acquire(0)


@pytest.mark.parametrize(
    ("most", "burst", "associations"), [(100, 90, 90), (110, 99, 99), (190, 171, 135), (250, 225, 180), (150, 135, 135)]
)
def test_budgets_follow_the_headers_and_associations_have_their_own(most: int, burst: int, associations: int):
    limits = Limits(Watch())
    with serving(Scripted([reply(200, {"results": []}, headers(most))])) as server:
        client = connected(server, limits)
        client.pipelines("deals")
        assert limits.budgets["burst"].allowed == burst
        assert limits.budgets["associations"].allowed == 90, "another limiter, about which nothing was heard"
        client.associations("contacts", "companies", ["1"])
        assert limits.budgets["associations"].allowed == associations
    assert limits.budgets["search"].allowed == 4


def test_a_setting_is_a_ceiling_and_an_oauth_app_has_its_own_default():
    limits = Limits(Watch(), burst=50, oauth=True)
    with serving(Scripted([reply(200, {"results": []}, headers(190))])) as server:
        connected(server, limits).pipelines("deals")
    assert limits.budgets["burst"].allowed == 45
    assert Limits(Watch(), oauth=True).budgets["burst"].limit == 110


def test_the_reserve_is_left_to_others_until_the_accounts_midnight():
    clock = Watch()
    limits = Limits(clock, reserve=0.1)
    limits.in_time_zone("US/Eastern")
    with serving(Scripted([reply(200, {"results": []}, headers(100, 50, 6))])) as server:
        client = connected(server, limits)
        client.pipelines("deals")
        server.play(reply(200, {"results": []}, headers(100, 50, 5)))
        client.pipelines("deals")
        with pytest.raises(QuotaExhausted) as caught:
            client.pipelines("deals")
        assert len(server.seen) == 2
        assert str(caught.value) == (
            "hubspot: 5 of 50 calls are left for today and 5 are kept for the account's other apps"
            " (HUBSPOT_DAILY_RESERVE); the quota is renewed at midnight US/Eastern, 2026-03-08T05:00:00Z, and the next"
            " run continues where this one stopped"
        )
        clock.moment += timedelta(minutes=30)
        server.play(reply(200, {"results": []}, headers(100, 50, 49)))
        client.pipelines("deals")
    assert limits.figures() == {"calls per day": 50, "calls left today": 49}


def test_a_spent_day_names_the_instant_it_is_renewed():
    clock = Watch()
    limits = Limits(clock)
    with serving(Scripted([reply(429, {"policyName": "DAILY"})])) as server:
        with pytest.raises(QuotaExhausted, match="renewed at midnight of the account's time zone"):
            connected(server, limits).pipelines("deals")
        limits.in_time_zone("Nowhere/Land")
        limits.in_time_zone("US/Eastern")
        clock.moment += timedelta(hours=12)
        with pytest.raises(QuotaExhausted, match=r"renewed at midnight US/Eastern, 2026-03-09T04:00:00Z, and the next"):
            connected(server, limits).pipelines("deals")
        assert len(server.seen) == 2


def test_headers_that_are_not_numbers_teach_nothing():
    limits, wrong = Limits(Watch()), dict.fromkeys(headers(1), "many")
    with serving(Scripted([reply(200, {"results": []}, wrong)])) as server:
        connected(server, limits).pipelines("deals")
    assert limits.budgets["burst"].allowed == 90
    assert limits.figures() == {}
