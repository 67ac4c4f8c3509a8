"""Whole amounts shared by whole weights, exactly: the largest remainders get what the floors leave over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MAXIMUM = 1 << 48
"""The weights of one journey add up to less: then a quotient in floating point is off by one at most."""

_AT_A_TIME = 1 << 17
"""Rows shared at a time: what is computed on the way stays in the processor's cache."""


@dataclass(frozen=True)
class Groups:
    """Rows that stand group after group.

    Attributes:
        starts: where each group begins.
        size: how many rows there are.
    """

    starts: Ints
    size: int

    @cached_property
    def lengths(self) -> Ints:
        return np.diff(np.append(self.starts, self.size))

    @cached_property
    def blocks(self) -> list[tuple[slice, slice, Groups]]:
        """Runs of groups with about `_AT_A_TIME` rows: which groups, which rows, and they as groups of their own."""
        wanted = np.arange(0, self.size, _AT_A_TIME)
        first = np.unique(np.searchsorted(self.starts, wanted, side="right") - 1)
        ends = np.append(first[1:], len(self.starts))
        rows = np.append(self.starts[first], self.size)
        return [
            (slice(low, high), slice(start, stop), Groups(self.starts[low:high] - start, int(stop - start)))
            for low, high, start, stop in zip(first, ends, rows[:-1], rows[1:], strict=True)
        ]

    @cached_property
    def matrices(self) -> list[tuple[Ints, Ints]]:
        """The groups of each length, and their rows: a matrix with a line for each group."""
        order = np.argsort(self.lengths, kind="stable")
        bounds = np.flatnonzero(np.diff(self.lengths[order])) + 1
        parts = [part for part in np.split(order, bounds) if len(part)]
        return [(part, self.starts[part][:, None] + np.arange(self.lengths[part[0]])) for part in parts]

    def sum(self, values: Ints) -> Ints:
        """The sum of each group."""
        return np.add.reduceat(values, self.starts) if len(self.starts) else np.zeros(0, np.int64)

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """The group's value at each of its rows."""
        return np.repeat(values, self.lengths)


def split(totals: Ints, weights: Ints, groups: Groups) -> Ints:
    """Shares of each group's total, one for each weight, that add up to it.

    Each gets the floor of its exact share, and the largest remainders one unit more, of equal ones the earlier; a
    negative total is shared as a positive one.

    Args:
        totals: one for each group, between -10^18 and 10^18.
        weights: 0 or more; no group's are all 0.
        groups: which weights belong together.

    Raises:
        ValueError: when the weights of a group add up to nothing, or to 2^48 or more.
    """
    if not groups.size:
        return np.zeros(0, np.int64)
    whole = groups.sum(weights)
    if whole.min() <= 0 or whole.max() >= MAXIMUM or weights.min() < 0:
        raise ValueError("weights of a group must be 0 or more and add up to more than 0 and less than 2^48")
    shares = np.empty(groups.size, np.int64)
    for some, rows, block in groups.blocks:
        shares[rows] = _shared(totals[some], weights[rows], whole[some], block)
    return shares


def _shared(totals: Ints, weights: Ints, whole: Ints, groups: Groups) -> Ints:
    size = np.abs(totals)
    times, left = np.divmod(size, whole)
    shares = groups.spread(times) * weights
    if left.any():
        floors, remainders = _floors(groups.spread(left), weights, groups.spread(whole))
        shares += floors
        _give(shares, remainders, size - groups.sum(shares), groups)
    negative = totals < 0
    return np.where(groups.spread(negative), -shares, shares) if negative.any() else shares


def _floors(left: Ints, weights: Ints, whole: Ints) -> tuple[Ints, Ints]:
    """left * weights // whole and the remainder, though the product may exceed 64 bits: the quotient is estimated in
    floating point, and the remainder, which is small, survives the overflow and corrects it."""
    quotient = (left.astype(np.float64) * weights / whole).astype(np.int64)
    remainder = left * weights - quotient * whole
    for wrong, by in ((remainder < 0, -1), (remainder >= whole, 1)):
        if wrong.any():
            quotient[wrong] += by
            remainder[wrong] -= by * whole[wrong]
    return quotient, remainder


def _give(shares: Ints, remainders: Ints, missing: Ints, groups: Groups) -> None:
    """One unit more for as many rows of each group as are missing."""
    for numbers, place in groups.matrices:
        short = missing[numbers]
        if not short.any():
            continue
        order = np.argsort(-remainders[place], axis=1, kind="stable")
        chosen = np.take_along_axis(place, order, axis=1)
        shares[chosen[np.arange(place.shape[1]) < short[:, None]]] += 1
