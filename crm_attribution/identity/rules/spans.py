"""Intervals around timestamps."""

from __future__ import annotations

from datetime import timedelta

import polars as pl


def spans(moments: pl.Series, reach: timedelta) -> pl.DataFrame:
    """Return the disjoint intervals within `reach` of any moment: starts, ends (UTC, both inclusive)."""
    sorted_moments = pl.DataFrame({"at": moments.unique().sort()})
    fresh = (pl.col("at").diff() > 2 * reach).fill_null(True)
    return (
        sorted_moments.with_columns(part=fresh.cum_sum())
        .group_by("part", maintain_order=True)
        .agg(starts=pl.col("at").min() - reach, ends=pl.col("at").max() + reach)
        .drop("part")
    )
