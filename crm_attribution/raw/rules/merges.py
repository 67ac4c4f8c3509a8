"""Merge lists closed over chains: every absorbed id to the record that holds it now."""

from __future__ import annotations

import polars as pl

TIME_KNOWN_BY = ["hs_calculated_merged_vids", "webhook", "hs_merged_object_ids", "lookup"]
"""Sources that report a merge, the most exact time first."""


def combine(*sources: pl.DataFrame) -> pl.DataFrame:
    """Combine the merges of several sources into one row per absorbed id with the record that holds it now.

    A record is absorbed once, so two survivors of one id are links of one chain: the last of it is the answer. The
    time is that of the source ranked first.

    Args:
        sources: raw.merge rows of one object type.

    Returns:
        raw.merge rows, closed over chains.
    """
    rows = pl.concat([w.select(sources[0].columns) for w in sources], how="vertical_relaxed")
    rank = {source: place for place, source in enumerate(TIME_KNOWN_BY)}
    final = _last_of(rows)
    return (
        rows.with_columns(
            survivor_id=pl.col("absorbed_id").replace_strict(final, default=None, return_dtype=pl.Int64),
            _rank=pl.col("source").replace_strict(rank, default=len(rank), return_dtype=pl.Int64),
        )
        .drop_nulls("survivor_id")
        .sort("absorbed_id", pl.col("merged_at").is_null(), "_rank", "merged_at")
        .unique("absorbed_id", keep="first", maintain_order=True)
        .drop("_rank")
    )


def _last_of(rows: pl.DataFrame) -> dict[int, int]:
    """absorbed id -> the end of its chain: the one record all its survivors lead to that nothing absorbed."""
    into: dict[int, set[int]] = {}
    for absorbed, survivor in rows.select("absorbed_id", "survivor_id").iter_rows():
        into.setdefault(absorbed, set()).add(survivor)
    final: dict[int, int] = {}
    for start in into:
        seen, open_ids = {start}, [start]
        while open_ids:
            for following in into.get(open_ids.pop(), set()) - seen:
                seen.add(following)
                open_ids.append(following)
        ends = [one for one in seen if one not in into]
        if ends:
            final[start] = max(ends)  # where HubSpot contradicts itself: the newest id
    return final


def survivors(ids: pl.Expr, closed: dict[int, int]) -> pl.Expr:
    """The live id for each id."""
    return ids.replace(closed) if closed else ids
