"""Custom: shares by position as the mapping sets them."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.positions import CLOSE, DEAL, FIRST, LAST, LEAD, by_position

_PLACES = {"first": FIRST, "lead": LEAD, "deal": DEAL, "close": CLOSE, "last": LAST}


def weights(_journeys: pl.DataFrame, parameters: Parameters) -> pl.Expr:
    """The parameters' shares, in any unit: only their ratio counts."""
    return by_position([(place, parameters[name]) for name, place in _PLACES.items()], parameters["rest"])


MODEL = Model(
    "custom",
    "Your own shares of first touch, lead creation, deal creation, close, last touch and the rest; as shipped linear.",
    weights,
    {**dict.fromkeys(_PLACES, 0), "rest": 1},
)
