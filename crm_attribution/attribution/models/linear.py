"""Linear: every touch of the journey takes the same share."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """1 for every touch."""
    return pl.lit(1)


MODEL = Model("linear", "Every touch of the journey gets an equal share of the outcome.", weights)
