"""Self-reported: the answers of the account's people alone."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """Each answer as much as the others."""
    return pl.lit(1)


MODEL = Model(
    "self_reported", "The answers to `touches.self_reported.property` share the outcome equally.", weights, answers=True
)
