"""Shapley: what each channel adds, on average over all orders in which channels could join.

For a game whose value is the conversions of journeys that need no other channels, this has a closed form: each journey
is shared equally by its distinct channels (Zhao, Mahboobi, Bagheri 2018, https://arxiv.org/abs/1804.05327)."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.person_linear import EVENLY


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """The same for every channel of the journey, equal shares of it for each of its touches."""
    return EVENLY // pl.len().over("journey", "channel").cast(pl.Int64)


MODEL = Model(
    "shapley", "Every channel of the journey gets the same (its Shapley value), shared by its touches.", weights
)
