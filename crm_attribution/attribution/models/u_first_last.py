"""U by position: what began the journey and what ended it."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.positions import FIRST, LAST, by_position


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """40 % for the first touch, 40 % for the last, 20 % for those between."""
    return by_position([(FIRST, 2), (LAST, 2)], rest=1)


MODEL = Model("u_first_last", "First and last touch get 40 % each, the touches between them 20 % together.", weights)
