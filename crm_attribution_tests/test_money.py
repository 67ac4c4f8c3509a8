"""Money: exact to the last unit, whatever the currency."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.events.rules.values import measures, needed_properties
from crm_attribution.mapping import Values
from crm_attribution.money import LARGEST, exponent, minor_units, split, to_decimal, to_minor
from crm_attribution_tests.events.rules.histories import RULES
from crm_attribution_tests.laws import TIMES

CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD", "usd", "XYZ"])


@given(st.integers(-LARGEST, LARGEST), st.lists(st.integers(0, 10**6), max_size=12))
def test_a_split_adds_up_and_no_part_is_a_unit_off(amount: int, weights: list[int]):
    parts = split(amount, weights)
    total = sum(weights)
    assert len(parts) == len(weights)
    assert sum(parts) == (amount if total else 0)
    assert all(
        abs(part - Fraction(amount * weight, total)) < 1 for part, weight in zip(parts, weights, strict=True) if total
    )
    assert split(-amount, weights) == [-part for part in parts]


def test_what_is_left_over_goes_to_the_largest_remainders_then_to_the_earlier():
    assert split(10, [1, 1, 1]) == [4, 3, 3]
    assert split(10, [1, 1, 2]) == [3, 2, 5]
    assert split(7, [3, 3, 1]) == [3, 3, 1]
    assert split(1, [1, 2]) == [0, 1]


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("1234.56", "EUR", 123456),
        (" 12 ", "EUR", 1200),
        ("1234", "JPY", 1234),
        ("0.001", "KWD", 1),
        ("-5", "USD", -500),
        ("1e3", "EUR", 100000),
        ("0.005", "EUR", 0),
        ("0.015", "EUR", 2),
        ("12 500,00", "EUR", None),
        ("1,250.00", "EUR", None),
        ("", "EUR", None),
        ("NaN", "EUR", None),
        ("Infinity", "EUR", None),
        ("1e40", "EUR", None),
        ("1e999999999", "EUR", None),
    ],
)
def test_amounts_as_hubspot_writes_them(text: str, currency: str, minor: int | None):
    assert to_minor(text, currency) == minor


@given(st.integers(-LARGEST, LARGEST), CURRENCIES)
def test_there_and_back(minor: int, currency: str):
    assert to_minor(to_decimal(minor, currency), currency) == minor
    assert Decimal(to_decimal(minor, currency)) * 10 ** exponent(currency) == minor


texts = st.one_of(st.none(), st.text(max_size=6), st.decimals().map(str), st.integers().map(str))


@settings(max_examples=60 * TIMES)
@given(st.lists(st.tuples(texts, st.none() | CURRENCIES), max_size=8))
def test_many_at_once_are_each_as_alone(rows: list[tuple[str | None, str | None]]):
    values = pl.Series([value for value, _ in rows], dtype=pl.String)
    currencies = pl.Series([currency for _, currency in rows], dtype=pl.String)
    alone = [None if value is None or currency is None else to_minor(value, currency) for value, currency in rows]
    assert minor_units(values, currencies).to_list() == alone


# --- measures


def measured(given_: dict[str, str], rules: Values = RULES.values) -> dict[str, int | str | None]:
    rows = pl.DataFrame({name: [given_.get(name)] for name in (*needed_properties(rules), "currency")},
                        schema_overrides=dict.fromkeys((*needed_properties(rules), "currency"), pl.String))  # fmt: skip
    return dict(measures(rows.with_columns(currency=pl.lit("EUR")), rules).row(0, named=True))


def half_away(value: Fraction) -> int:
    size = abs(value)
    whole = size.numerator // size.denominator
    rounded = whole + (size - whole >= Fraction(1, 2))
    return rounded if value >= 0 else -rounded


@settings(max_examples=60 * TIMES)
@given(
    st.integers(-LARGEST, LARGEST),
    st.sampled_from(["monthly", "Quarterly", "ANNUAL"]),
    st.integers(-5, 50) | st.integers(0, 10**9),
)
def test_the_rule_over_amount_period_and_term(minor: int, period: str, term: int):
    amount = to_decimal(minor, "EUR")
    found = measured({"amount": amount, "billing_period": period, "contract_term_months": str(term)})
    months = {"monthly": 1, "quarterly": 3, "annual": 12}[period.lower()]
    for name, factor in (("mrr", 1), ("arr", 12), ("tcv", term)):
        exact = half_away(Fraction(factor * minor, months))
        possible = abs(exact) <= LARGEST and 0 < factor <= 1200
        assert found[name] == (exact if possible else None), "a typing error is no contract"


def test_line_items_come_before_the_rule_and_a_property_of_yours_before_both():
    given_ = {"amount": "120", "billing_period": "annual", "hs_arr": "100", "our_arr": "90"}
    assert measured(given_)["arr"] == 10000
    arr = RULES.values.arr.model_copy(update={"property": "our_arr"})
    assert measured(given_, RULES.values.model_copy(update={"arr": arr}))["arr"] == 9000


def test_what_is_missing_says_so():
    found = measured({"amount": "120", "hs_mrr": "10"})
    assert (found["mrr"], found["arr"], found["tcv"]) == (1000, None, None)
    assert found["value_reason"] == "arr: no property, no line items, no rule; tcv: no property, no line items, no rule"
    assert measured({"amount": "120", "billing_period": "annual", "contract_term_months": "24"})["value_reason"] is None
