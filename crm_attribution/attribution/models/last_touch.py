"""Last touch: what came right before the outcome takes all."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """1 for the last touch, 0 for the others."""
    return pl.col("i") == pl.col("n")


MODEL = Model("last_touch", "The last touch before the outcome gets all of it.", weights)
