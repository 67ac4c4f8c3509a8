"""Time decay: a touch weighs half as much as one a half-life later."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import SCALE, Model, Parameters

_DAY = 24 * 60 * 60 * 1_000_000


def weights(_journeys: pl.DataFrame, parameters: Parameters) -> pl.Expr:
    """2^-(days before the last touch / half-life), in whole 2^-30 of the last touch's weight."""
    days = (pl.col("ago") - pl.col("last_ago")) / _DAY
    return (SCALE * pl.lit(2.0).pow(-days / max(parameters["half_life_days"], 1))).round().cast(pl.Int64)


MODEL = Model(
    "time_decay", "The nearer to the outcome, the more: the weight halves with every half-life.", weights,
    {"half_life_days": 7},
)  # fmt: skip
