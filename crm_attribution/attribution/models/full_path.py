"""Full path: what began the journey, and each of its turns until the deal was won."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.positions import CLOSE, DEAL, FIRST, LEAD, by_position


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """22.5 % each for the first touch, lead, deal and close, 10 % for the others."""
    return by_position([(FIRST, 9), (LEAD, 9), (DEAL, 9), (CLOSE, 9)], rest=4)


MODEL = Model(
    "full_path", "First touch, lead creation, deal creation and close get 22.5 % each, the other touches 10 %.", weights
)
