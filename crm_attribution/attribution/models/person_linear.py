"""Person-balanced linear: a colleague who clicks much takes no more than one who clicks once."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters

EVENLY = 232_792_560
"""Divisible by every number up to 20: shares are exact up to so many touches of a person, and to 10^-8 beyond."""


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """The same for every person, equal shares of it for each of their touches; touches without one are one person's."""
    return EVENLY // pl.len().over("journey", "person_id").cast(pl.Int64)


MODEL = Model("person_linear", "Every person of the journey gets the same, shared equally by their touches.", weights)
