"""Shares by position. One touch in several positions gets the sum of their shares; a position without a touch drops
out, as does the share of the others where there are none; what remains is divided by its sum."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

FIRST, LAST = pl.lit(1, pl.Int64), pl.col("n")
LEAD, DEAL, CLOSE = pl.col("lead"), pl.col("deal"), pl.col("close")


def by_position(shares: Sequence[tuple[pl.Expr, int]], rest: int) -> pl.Expr:
    """Weights of touches.

    Args:
        shares: position (null: no touch has it) and its share.
        rest: share that all other touches have together, in the same unit.
    """
    placed = [(place, share) for place, share in shares if share > 0]
    here = [(pl.col("i") == place).fill_null(value=False) for place, _ in placed]
    own = pl.sum_horizontal(
        pl.lit(0, pl.Int64), *(at.cast(pl.Int64) * share for at, (_, share) in zip(here, placed, strict=True))
    )
    taken = pl.sum_horizontal(
        pl.lit(0, pl.Int64), *(_first_of_its_touch([place for place, _ in placed[: n + 1]]) for n in range(len(placed)))
    )
    others = (pl.col("n") - taken).clip(lower_bound=1)
    return pl.when(pl.any_horizontal(pl.lit(False), *here)).then(own * others).otherwise(rest)


def _first_of_its_touch(places: Sequence[pl.Expr]) -> pl.Expr:
    """1 where the last of these positions has a touch that none of those before it has."""
    *before, place = places
    again = pl.any_horizontal(pl.lit(False), *((other == place).fill_null(value=False) for other in before))
    return (place.is_not_null() & ~again).cast(pl.Int64)
