"""Inverse J: mostly what began the journey."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.positions import FIRST, LAST, by_position


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """60 % for the first touch, 20 % for the last, 20 % for those between."""
    return by_position([(FIRST, 3), (LAST, 1)], rest=1)


MODEL = Model("inverse_j", "The first touch gets 60 %, the last 20 %, the touches between them 20 % together.", weights)
