"""Last non-direct touch: what came last of what somebody did for it."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.models.base import Model, Parameters


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """1 for the last touch that is not direct, else for the last."""
    last = pl.when(~pl.col("is_direct")).then("i").max().over("journey")
    return pl.col("i") == pl.coalesce(last, "n")


MODEL = Model(
    "last_non_direct", "The last touch that is not direct gets all; where all are direct, the last touch.", weights
)
