"""Which rate holds for a value, and what it makes of it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm_attribution.events.rules.home_values import Home, home_values
from crm_attribution.events.rules.values import CREDITED
from crm_attribution.money import LARGEST, converted, exchange_rate, exponent, quotient
from crm_attribution_tests.helpers import at

DAY = date(2026, 3, 10)
HOME = Home("EUR", None, "Europe/Berlin")
MILESTONE: dict[str, Any] = {
    **dict.fromkeys(("milestone", "milestone_id", "state", "currency"), pl.String),
    **{"deal_id": pl.Int64, "booked_on": pl.Date},
    **dict.fromkeys(CREDITED.values(), pl.Int64),
}
DEAL: dict[str, Any] = {
    "deal_id": pl.Int64,
    **dict.fromkeys(("currency", "amount", "hs_exchange_rate", "amount_in_home_currency"), pl.String),
}
RATE: dict[str, Any] = {"date": pl.Date, **dict.fromkeys(("from_currency", "to_currency", "rate"), pl.String)}


def value(
    *rates: tuple[int, str, str, str],
    deal: dict[str, Any] | None = None,
    home: Home = HOME,
    **milestone: Any,
) -> tuple[str | None, str | None, int | None]:
    """rate, rate_source and amount_home of one won deal of 10.01 USD; rates are days before, from, to, rate."""
    fact = {"milestone": "customer_won", "milestone_id": "m", "state": "live", "currency": "USD", "deal_id": 1,
            "booked_on": DAY, "amount_current": 1001, **milestone}  # fmt: skip
    told = [{"deal_id": 1, "currency": "USD", "amount": "10.01", **(deal or {})}]
    table = [(DAY - timedelta(days=ago), one, other, rate) for ago, one, other, rate in rates]
    rows = home_values(
        pl.DataFrame([fact], schema=MILESTONE),
        pl.DataFrame(told, schema=DEAL),
        pl.DataFrame(table, schema=RATE, orient="row"),
        home,
        7,
    )
    (found,) = rows.select("rate", "rate_source", "amount_home").rows()
    return found


TODAY = (0, "USD", "EUR", "0.5")


def test_a_won_deal_has_its_own_rate_whatever_the_table_says():
    assert value(TODAY, deal={"hs_exchange_rate": "0.90"}) == ("0.9", "deal", 901)
    assert value(TODAY, deal={"amount_in_home_currency": "8.008"}) == ("0.8", "deal_amounts", 801)


@pytest.mark.parametrize("deal", [{}, {"hs_exchange_rate": "0"}, {"hs_exchange_rate": "-1", "amount": "0"},
                                  {"hs_exchange_rate": "0.9", "currency": "GBP"}])  # fmt: skip
def test_without_a_rate_of_its_own_currency_the_table_holds(deal: dict[str, Any]):
    assert value(TODAY, deal=deal) == ("0.5", "table", 500)


def test_the_last_rate_within_seven_days_holds_and_no_older_or_later_one():
    assert value((7, "USD", "EUR", "0.7"), (8, "USD", "EUR", "0.8")) == ("0.7", "table_earlier", 701)
    assert value((8, "USD", "EUR", "0.8"), (-1, "USD", "EUR", "0.6")) == (None, None, None)
    assert value((3, "USD", "EUR", "0.3"), (2, "USD", "EUR", "0.2"), (2, "GBP", "EUR", "9")) == (
        "0.2", "table_earlier", 200,
    )  # fmt: skip


def test_a_rate_the_other_way_round_is_inverted_where_the_day_has_no_other():
    assert value((0, "EUR", "USD", "1.25")) == ("0.8", "table", 801)
    assert value((0, "EUR", "USD", "1.25"), TODAY) == ("0.5", "table", 500)
    assert value((0, "EUR", "USD", "3"), (1, "USD", "EUR", "0.4"))[:2] == ("0.333333333333333333", "table")


def test_what_is_not_won_takes_the_table_and_only_then_hubspots_present_rate():
    own = {"hs_exchange_rate": "0.9"}
    facts: list[dict[str, Any]] = [{"milestone": "opportunity_created"}, {"state": "reversed"}]
    for fact in facts:
        assert value(TODAY, deal=own, **fact) == ("0.5", "table", 500)
        assert value(deal=own, **fact) == ("0.9", "deal_now", 901)


def test_a_deal_closed_before_the_home_currency_changed_has_a_rate_to_the_former_one():
    changed = Home("EUR", at("2026-03-09T23:00:00Z"), "Europe/Berlin")  # the tenth has begun in Berlin
    assert value(deal={"hs_exchange_rate": "0.9"}, home=changed)[1] == "deal"
    assert value(deal={"hs_exchange_rate": "0.9"}, home=changed, booked_on=date(2026, 3, 9)) == (None, None, None)


def test_the_home_currency_itself_is_not_converted():
    assert value(TODAY, currency="EUR", deal={"currency": "EUR", "hs_exchange_rate": "7"}) == ("1", "home", 1001)


rates = st.decimals("0.000000000000000001", "999999999999", places=18).filter(bool)


@given(
    minor=st.integers(-LARGEST, LARGEST),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
    home=st.sampled_from(["USD", "KRW", "TND"]),
    rate=rates,
)
@example(minor=25, currency="EUR", home="USD", rate=Decimal("0.5"))
@example(minor=-15, currency="JPY", home="KWD", rate=Decimal("0.0001"))
def test_an_amount_is_converted_exactly_and_rounded_once(minor: int, currency: str, home: str, rate: Decimal):
    exact = Fraction(minor) * Fraction(rate) * Fraction(10) ** (exponent(home) - exponent(currency))
    wanted = round(exact)
    found = converted(minor, currency, home, rate)
    assert found == (wanted if abs(wanted) <= LARGEST else None)
    mirrored = converted(-minor, currency, home, rate)
    assert mirrored == (None if found is None else -found)


@given(amount=st.integers(1, 10**12), rate=st.decimals("0.01", "100", places=6))
def test_a_rate_from_two_amounts_gives_the_second_amount_again(amount: int, rate: Decimal):
    with localcontext() as context:
        context.prec = 50
        home = (Decimal(amount) * rate).quantize(Decimal(1), ROUND_HALF_EVEN)
    found = exchange_rate(f"{quotient(home, Decimal(amount)):f}") if home else None
    assert found is None or converted(amount, "EUR", "USD", found) == int(home)
