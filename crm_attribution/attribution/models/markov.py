"""Markov chain of order 1: a channel is worth what would be lost without it.

Journeys are walks between channels, from a start to the outcome or to nothing. The removal effect of a channel is the
share of all conversions whose walk passes through it, solved exactly: one matrix inversion, no simulation."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crm_attribution.attribution.models.base import SCALE, Model, Parameters


def weights(journeys: pl.DataFrame, _parameters: Parameters) -> pl.Series:
    """The channel's removal effect; for a channel not seen before the mean of the journey's others. Where nothing is
    known, or nothing had an effect, every touch gets the same."""
    known = journeys.select("journey", "effect")
    if known["effect"].has_nulls():
        mean = pl.col("effect").mean().over("journey").round().cast(pl.Int64)
        known = known.with_columns(pl.coalesce("effect", mean))
    if (known["effect"] > 0).all(ignore_nulls=False):
        return known["effect"]
    # step by step: Polars computes a window inside a window group by group
    return known.select(pl.when(pl.col("effect").sum().over("journey") > 0).then("effect").otherwise(1)).to_series()


def removal_effects(paths: pl.DataFrame) -> pl.DataFrame:
    """channel String, effect Float64: 1 - (conversions without the channel / conversions), in the order of channels.

    Args:
        paths: path List[String] of at least one channel, converted Boolean, journeys Int64.
    """
    if paths.is_empty():
        return pl.DataFrame(schema=_EFFECTS)
    channels, flow = _flow(paths)
    size = len(channels) + 1
    flow /= np.maximum(flow.sum(axis=1, keepdims=True), 1)
    visits = np.linalg.inv(np.eye(size) - flow[:, :size])
    chance = visits @ flow[:, -1]  # of a conversion, from each channel on
    if chance[0] == 0:
        return pl.DataFrame({"channel": channels, "effect": np.zeros(size - 1)}, schema=_EFFECTS)
    passing = visits[0, 1:] / np.diagonal(visits)[1:]
    return pl.DataFrame({"channel": channels, "effect": passing * chance[1:] / chance[0]}, schema=_EFFECTS)


_EFFECTS = {"channel": pl.String, "effect": pl.Float64}


def _flow(paths: pl.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
    """The channels in their order, and how many journeys go from one to the next. Row 0 is the start, row and column n
    the n-th channel; the last two columns are nothing and converted."""
    walked = paths["path"].explode().cast(pl.Categorical)
    channels = walked.unique().cast(pl.String).sort()
    size = len(channels) + 1
    known = channels.cast(pl.Categorical).to_physical().to_numpy()
    number = np.zeros(known.max() + 1, np.int64)
    number[known] = np.arange(1, size)
    here = number[walked.to_physical().to_numpy()]
    lengths = paths["path"].list.len().to_numpy().astype(np.int64)
    last = np.cumsum(lengths) - 1
    before = np.roll(here, 1)
    before[last - lengths + 1] = 0
    ends = np.where(paths["converted"], size + 1, size)
    journeys = paths["journeys"].to_numpy().astype(np.float64)
    flow = _count(before, here, np.repeat(journeys, lengths), size) + _count(here[last], ends, journeys, size)
    return channels.to_list(), flow


def _count(
    come: NDArray[np.int64], go: NDArray[np.int64], journeys: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    counted = np.bincount(come * (size + 2) + go, journeys, size * (size + 2))
    return counted.reshape(size, size + 2).astype(np.float64)


def learn(paths: pl.DataFrame, _parameters: Parameters) -> pl.DataFrame:
    """channel, effect in whole 2^-30; of no channel where no path led to the outcome."""
    known = removal_effects(paths if paths["converted"].any() else paths.clear())
    return known.select("channel", effect=(pl.col("effect") * SCALE).round().cast(pl.Int64))


MODEL = Model(
    "markov",
    "Touches by what would be lost without their channel (removal effect), learned from the months before.",
    weights,
    {"months": 12},
    learn,
)
