"""A deal's money at a moment: amount, MRR, ARR and contract value side by side, in minor units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from crm_attribution.mapping import Values, ValueSource
from crm_attribution.money import LARGEST, minor_units

LONGEST_TERM = 1_200
"""Months; a longer term is a typing error."""

MEASURES = ("amount", "mrr", "arr", "tcv")

CREDITED = {"amount": "amount_current", "mrr": "mrr_new", "arr": "arr_new", "tcv": "tcv_current"}
"""Money measure -> the milestone's column that is converted and credited. Of a renewal only the change is new recurring
revenue."""


def choices(text: pl.Expr) -> pl.Expr:
    """The values of a multiple-choice property, lower case: HubSpot gives them as one text, `;` between."""
    return (
        text.str.to_lowercase()
        .str.split(";")
        .list.eval(pl.element().str.strip_chars())
        .list.eval(pl.element().filter(pl.element() != ""))
    )


def has_choice(text: pl.Expr, wanted: Sequence[str]) -> pl.Expr:
    """Whether any value of a multiple-choice property is one of `wanted` (lower case); false for none."""
    return choices(text).list.eval(pl.element().is_in(list(wanted))).list.any().fill_null(False)


def _single_choice(text: pl.Expr, known: Mapping[str, int]) -> pl.Expr:
    """What the values of a multiple-choice property that are known mean, where they mean one thing."""
    meant = choices(text).list.eval(
        pl.element().replace_strict(dict(known), default=None, return_dtype=pl.Int64).drop_nulls().unique()
    )
    return pl.when(meant.list.len() == 1).then(meant.list.first())


def needed_properties(rules: Values) -> list[str]:
    """The deal properties the rules read."""
    named = [name for source in (rules.mrr, rules.arr, rules.tcv) for name in (source.property, source.line_items)]
    return sorted({*filter(None, named), rules.billing_period_property, rules.term_months_property, "amount"})


def measures(
    rows: pl.DataFrame, rules: Values, *, currency: str = "currency", given_amount: str | None = None
) -> pl.DataFrame:
    """Add amount, mrr, arr, tcv (minor units or null), billing_period and value_reason.

    Each measure comes from its configured property, else HubSpot's line-item property, else the rule over amount,
    billing period and term; else it is null and value_reason says why. The amount never passes as ARR.

    Args:
        rows: one column of text per property in `needed_properties`, and the currency column.
        given_amount: a column that holds the amount in minor units already, instead of the text.
    """
    money = {
        name: minor_units(rows[name], rows[currency])
        for name in needed_properties(rules)
        if name not in (rules.billing_period_property, rules.term_months_property)
    }
    if given_amount:
        money["amount"] = rows[given_amount]
    months = _single_choice(pl.col(rules.billing_period_property), rules.billing_months)
    term = pl.col(rules.term_months_property).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    term = pl.when(term.is_between(1, LONGEST_TERM)).then(term)
    frame = rows.with_columns(_months=months, _term=term, **{f"_m_{name}": series for name, series in money.items()})
    amount = pl.col("_m_amount")
    by_rule = {
        "mrr": _ratio(amount, pl.lit(1), pl.col("_months")),
        "arr": _ratio(amount, pl.lit(12), pl.col("_months")),
        "tcv": _ratio(amount, pl.col("_term"), pl.col("_months")),
    }
    frame = frame.with_columns(
        amount=amount,
        mrr=_first(rules.mrr, by_rule["mrr"]),
        arr=_first(rules.arr, by_rule["arr"]),
        tcv=_first(rules.tcv, by_rule["tcv"]),
        billing_period=pl.col(rules.billing_period_property),
    )
    missing = [
        pl.when(pl.col(name).is_null()).then(pl.lit(f"{name}: no property, no line items, no rule"))
        for name in ("mrr", "arr", "tcv")
    ]
    reason = pl.concat_str(missing, separator="; ", ignore_nulls=True)
    frame = frame.with_columns(value_reason=pl.when(reason != "").then(reason))
    return frame.drop("_months", "_term", *(f"_m_{name}" for name in money))


def _first(source: ValueSource, rule: pl.Expr) -> pl.Expr:
    named = [pl.col(f"_m_{name}") for name in (source.property, source.line_items) if name]
    return pl.coalesce(*named, rule)


def _ratio(amount: pl.Expr, numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """amount x numerator / denominator in whole minor units, halves away from zero; null where a part is missing."""
    product = amount.abs().cast(pl.Int128) * numerator
    rounded = (2 * product + denominator) // (2 * denominator)
    fits = (denominator > 0) & (rounded <= LARGEST)
    return pl.when(fits).then(amount.sign() * rounded).cast(pl.Int64)
