"""Touches of many journeys at once: sorted by their key and time, each journey is a slice."""

from __future__ import annotations

import numpy as np
import polars as pl

from crm_attribution.attribution.rules.split import Ints


def ordered(touches: pl.DataFrame, column: str) -> pl.DataFrame:
    """Touches that have a key in `column` (account_id or person_id), sorted by it, by touched_at and by touch_id."""
    return touches.drop_nulls(column).sort(column, "touched_at", "touch_id")


def repeats(ordered: pl.DataFrame, column: str, minutes: int) -> pl.DataFrame:
    """Add `_before` (UTC): when the touch before it of the same person, channel and campaign was, where the two are at
    most `minutes` apart and count as one; else null. Only touches near another of the same key are compared."""
    at, limit = pl.col("touched_at"), pl.duration(minutes=minutes)
    near = ((pl.col(column) == pl.col(column).shift(1)) & (at - at.shift(1) <= limit)).fill_null(value=False)
    crowd = ordered.select("touched_at", "person_id", "channel", "campaign", _key=column, _near=near).with_row_index(
        "_row"
    )
    crowd = crowd.filter(pl.col("_near") | pl.col("_near").shift(-1)).filter(pl.col("person_id").is_not_null())
    before = at.shift(1).over("_key", "person_id", "channel", "campaign")
    found = crowd.select("_row", _before=pl.when(at - before <= limit).then(before)).drop_nulls()
    return ordered.with_row_index("_row").join(found, on="_row", how="left", maintain_order="left").drop("_row")


def sliced(asked: pl.DataFrame, ordered: pl.DataFrame, column: str, since: str | None) -> pl.DataFrame:
    """Each journey with every touch of its key: from `since` to the outcome, both included, or all there are.

    Args:
        asked: journey, key, occurred_at UTC and the column `since` names; its other columns are kept.
        ordered: as `ordered` returns them.
        column: the touches' column that `key` is compared with.
        since: name of a timestamp column; None: no limits.

    Returns:
        a row for each journey and touch: the columns of `asked` without `key`, then those of `ordered`.
    """
    runs = ordered.select(pl.col(column).rle()).unnest(column).rename({"value": "key"})
    runs = runs.with_columns(_stop=pl.col("len").cum_sum().cast(pl.Int64)).with_columns(
        _start=pl.col("_stop") - pl.col("len").cast(pl.Int64)
    )
    spans = asked.join(runs.select("key", "_start", "_stop"), on="key", maintain_order="left")
    low, high = spans["_start"].to_numpy(), spans["_stop"].to_numpy()
    if since is not None:
        at = ordered["touched_at"].to_physical().to_numpy()
        left, right = (spans[name].to_physical().to_numpy() for name in (since, "occurred_at"))
        low, high = _search(at, low, high, left), _search(at, low, high, right + 1)
    lengths = np.maximum(high - low, 0)
    offsets = np.cumsum(lengths) - lengths
    rows = np.arange(lengths.sum()) + np.repeat(low - offsets, lengths)
    which = np.repeat(np.arange(spans.height), lengths)
    found: pl.DataFrame = pl.concat([spans.drop("key", "_start", "_stop")[which], ordered[rows]], how="horizontal")
    return found


def _search(values: Ints, low: Ints, high: Ints, wanted: Ints) -> Ints:
    """For each of many slices [low, high) of sorted values the first place whose value is `wanted` or more."""
    low, high = low.copy(), high.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        less = np.zeros(len(low), bool)
        less[open_] = values[middle[open_]] < wanted[open_]
        low = np.where(open_ & less, middle + 1, low)
        high = np.where(open_ & ~less, middle, high)
    return low
