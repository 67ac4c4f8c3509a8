"""Merge lists closed over chains: every absorbed id to the record that holds it now."""

from __future__ import annotations

import polars as pl


def closure(merges: pl.DataFrame) -> dict[str, str]:
    """absorbed id -> final survivor, over chains (A into C, C into E gives A into E).

    Args:
        merges: `absorbed_id`, `survivor_id` (String) of one object type.
    """
    direct = dict(merges.select("absorbed_id", "survivor_id").iter_rows())
    final: dict[str, str] = {}
    for start in direct:
        seen = {start}
        at = direct[start]
        while at in direct and at not in seen:
            seen.add(at)
            at = direct[at]
        final[start] = at
    return {absorbed: survivor for absorbed, survivor in final.items() if absorbed != survivor}


def survivors(ids: pl.Expr, closed: dict[str, str]) -> pl.Expr:
    """The live id for each id."""
    return ids.replace(closed) if closed else ids
