"""Markov chain of order 1: a channel is worth what would be lost without it.

Journeys are walks between channels, from a start to the outcome or to nothing. The removal effect of a channel is the
share of all conversions whose walk passes through it, solved exactly: one matrix inversion, no simulation."""

from __future__ import annotations

import numpy as np
import polars as pl

from crm_attribution.attribution.models.base import SCALE, Model, Parameters

_START, _CONVERTED, _NOTHING = 0, -1, -2


def weights(_journeys: pl.DataFrame, _parameters: Parameters) -> pl.Expr:
    """The channel's removal effect; for a channel not seen before the mean of the journey's others. Where nothing is
    known, or nothing had an effect, every touch gets the same."""
    mean = pl.col("effect").mean().over("journey").round().cast(pl.Int64)
    effect = pl.coalesce("effect", mean)
    return pl.when(effect.sum().over("journey") > 0).then(effect).otherwise(1)


def removal_effects(paths: pl.DataFrame) -> pl.DataFrame:
    """channel String, effect Float64: 1 - (conversions without the channel / conversions), in the order of channels.

    Args:
        paths: path List[String] of at least one channel, converted Boolean, journeys Int64.
    """
    if paths.is_empty():
        return pl.DataFrame(schema=_EFFECTS)
    channels, steps = _steps(paths)
    size = len(channels) + 1
    flow = np.zeros((size, size + 2))  # the last two columns: nothing, converted
    flow[steps["come"], steps["go"]] = steps["journeys"]
    flow /= np.maximum(flow.sum(axis=1, keepdims=True), 1)
    visits = np.linalg.inv(np.eye(size) - flow[:, :size])
    chance = visits @ flow[:, -1]  # of a conversion, from each channel on
    if chance[0] == 0:
        return pl.DataFrame({"channel": channels, "effect": np.zeros(size - 1)}, schema=_EFFECTS)
    passing = visits[0, 1:] / np.diagonal(visits)[1:]
    return pl.DataFrame({"channel": channels, "effect": passing * chance[1:] / chance[0]}, schema=_EFFECTS)


_EFFECTS = {"channel": pl.String, "effect": pl.Float64}


def _steps(paths: pl.DataFrame) -> tuple[list[str], pl.DataFrame]:
    """The channels in their order, and come, go, journeys: how many walk from one to the next (1 is the first
    channel)."""
    walk = paths.with_row_index("walk").explode("path")
    channels = sorted(walk["path"].unique().to_list())
    number = {name: n for n, name in enumerate(channels, 1)}
    walk = walk.with_columns(at=pl.col("path").replace_strict(number, return_dtype=pl.Int32))
    same = (pl.col("walk") == pl.col("walk").shift(1)).fill_null(value=False)
    goes_on = (pl.col("walk") == pl.col("walk").shift(-1)).fill_null(value=False)
    arrivals = walk.select(
        come=pl.when(same).then(pl.col("at").shift(1)).otherwise(_START), go="at", journeys="journeys"
    )
    ends = walk.filter(~goes_on).select(
        come="at",
        go=pl.when("converted").then(pl.lit(_CONVERTED, pl.Int32)).otherwise(pl.lit(_NOTHING, pl.Int32)),
        journeys="journeys",
    )
    return channels, pl.concat([arrivals, ends]).group_by("come", "go").agg(pl.col("journeys").sum()).sort("come", "go")


def learn(paths: pl.DataFrame, _parameters: Parameters) -> pl.DataFrame:
    """channel, effect in whole 2^-30; of no channel where no path led to the outcome."""
    known = paths.filter(pl.col("converted").any())
    return removal_effects(known).select("channel", effect=(pl.col("effect") * SCALE).round().cast(pl.Int64))


MODEL = Model(
    "markov",
    "Touches by what would be lost without their channel (removal effect), learned from the months before.",
    weights,
    {"months": 12},
    learn,
)
