"""First touch: what brought the account in takes all."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """1 for the first touch, 0 for the others."""
    return pl.col("i") == 1


MODEL = Model("first_touch", "The first touch of the journey gets the whole outcome.", weights)
