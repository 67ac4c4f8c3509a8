"""J: mostly what came right before the outcome."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.positions import FIRST, LAST, by_position


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """20 % for the first touch, 60 % for the last, 20 % for those between."""
    return by_position([(FIRST, 1), (LAST, 3)], rest=1)


MODEL = Model("j_shaped", "The last touch gets 60 %, the first 20 %, the touches between them 20 % together.", weights)
