"""Touches of many journeys at once: in the order of their key and time, each journey is a slice.

Places of rows are sorted and searched, not the rows: a touch is copied once, when its journey has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from crm_attribution.attribution.rules.split import Ints

NEVER = int(np.iinfo(np.int64).min)
"""Stands for a moment that is not known: before any other."""


def moments(times: pl.Series) -> Ints:
    """Microseconds since 1970 of UTC times; `NEVER` for null."""
    return times.to_physical().fill_null(NEVER).to_numpy()


def in_order(keys: Ints, times: Ints, ids: pl.Series) -> Ints:
    """Places of rows by (key, time, id).

    Key and time are packed into one number; where the time does not fit wholly, or is the same, the rows that are equal
    so far are sorted again by all three.

    Args:
        keys: 0 or more.
        times: microseconds.
        ids: of equal times, the lesser id is first.
    """
    if not len(keys):
        return np.zeros(0, np.int64)
    since = times - times.min()
    bits = 63 - int(keys.max()).bit_length()
    packed = (keys << bits) | (since >> max(int(since.max()).bit_length() - bits, 0))
    order = np.argsort(packed)
    same = np.diff(packed[order]) == 0
    again = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(again):
        rows = order[again]
        exact = pl.DataFrame({"key": keys[rows], "time": times[rows], "id": ids[rows]})
        order[again] = rows[exact.select(pl.arg_sort_by("key", "time", "id")).to_series().to_numpy()]
    return order


@dataclass(frozen=True)
class Line:
    """The touches of some keys in their order.

    Attributes:
        names: the keys; a key's number is its place here.
        places: the rows of the touches, by (key, time, touch id).
        keys: the number of the key of each.
        times: when each was, in microseconds.
    """

    names: pl.Series
    places: Ints
    keys: Ints
    times: Ints

    def slices(self, asked: pl.Series, since: Ints | None, until: Ints) -> tuple[Ints, Ints]:
        """Each journey with every touch of its key, from `since` to `until`, both included.

        Args:
            asked: keys of the journeys, each one of `names`.
            since: microseconds; None: all touches of the key, whenever they were.
            until: microseconds; not read without `since`.

        Returns:
            For each journey and touch the row in `asked`, and where in this line it stands.
        """
        number = _numbers(asked, self.names)
        counts = np.bincount(self.keys, minlength=len(self.names))
        high = np.cumsum(counts)[number]
        low = high - counts[number]
        if since is not None:
            low, high = _search(self.times, low, high, since), _search(self.times, low, high, until + 1)
        lengths = np.maximum(high - low, 0)
        offsets = np.cumsum(lengths) - lengths
        return np.repeat(np.arange(len(asked)), lengths), np.arange(lengths.sum()) + np.repeat(low - offsets, lengths)


def line(touches: pl.DataFrame, column: str, asked: pl.Series) -> Line:
    """The touches whose key in `column` (account_id or person_id) is one of `asked`; read are touched_at, touch_id."""
    names = asked.unique()
    numbers = _numbers(touches[column], names)
    rows = np.flatnonzero(numbers >= 0)
    keys, times = numbers[rows], moments(touches["touched_at"])[rows]
    order = in_order(keys, times, touches["touch_id"][rows])
    return Line(names, rows[order], keys[order], times[order])


def _numbers(values: pl.Series, names: pl.Series) -> Ints:
    """The place of each value among `names`; -1 where it is none of them."""
    known = pl.DataFrame({"name": names, "_number": pl.Series(np.arange(len(names)), dtype=pl.Int64)})
    found = values.to_frame("name").join(known, on="name", how="left", maintain_order="left")
    return found["_number"].fill_null(-1).to_numpy()


def repeated(line: Line, touches: pl.DataFrame, minutes: int) -> Ints:
    """When the touch before each of a line, of the same person, channel and campaign, was, where the two are at most
    `minutes` apart and count as one; else `NEVER`. Only touches near another of the same key are compared."""
    limit = minutes * 60_000_000
    near = (np.diff(line.keys) == 0) & (np.diff(line.times) <= limit)
    crowd = np.flatnonzero(np.append(near, False) | np.append(False, near))
    rows = touches.select("person_id", "channel", "campaign")[line.places[crowd]].with_columns(
        at=crowd, key=line.keys[crowd], time=line.times[crowd]
    )
    before = pl.col("time").shift(1).over("key", "person_id", "channel", "campaign")
    found = (
        rows.filter(pl.col("person_id").is_not_null())
        .select("at", before=pl.when(pl.col("time") - before <= limit).then(before))
        .drop_nulls()
    )
    known = np.full(len(line.places), NEVER)
    known[found["at"].to_numpy()] = found["before"].to_numpy()
    return known


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
