"""W: what began the journey, what made a lead of it, and what made a deal."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.positions import DEAL, FIRST, LEAD, by_position


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """30 % each for the first touch, that of the lead's creation and that of the deal's, 10 % for the others."""
    return by_position([(FIRST, 3), (LEAD, 3), (DEAL, 3)], rest=1)


MODEL = Model(
    "w_shaped", "First touch, lead creation and deal creation get 30 % each, the other touches 10 % together.", weights
)
