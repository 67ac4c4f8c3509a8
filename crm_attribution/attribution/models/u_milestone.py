"""U by milestone: what began the journey and what made a lead of it."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.positions import FIRST, LEAD, by_position


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """40 % for the first touch, 40 % for that of the lead's creation, 20 % for the others."""
    return by_position([(FIRST, 2), (LEAD, 2)], rest=1)


MODEL = Model("u_milestone", "First touch and lead creation get 40 % each, the other touches 20 % together.", weights)
