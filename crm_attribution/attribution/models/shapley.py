"""Shapley: what each channel adds, on average over all orders in which channels could join.

For a game whose value is the conversions of journeys that need no other channels, this has a closed form: each journey
is shared equally by its distinct channels (Zhao, Mahboobi, Bagheri 2018, https://arxiv.org/abs/1804.05327)."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crm_attribution.attribution.models.base import Model, Parameters
from crm_attribution.attribution.models.person_linear import EVENLY


def weights(journeys: pl.DataFrame, _parameters: Parameters) -> pl.Series:
    """The same for every channel of the journey, equal shares of it for each of its touches."""
    return pl.Series(EVENLY // _alike(journeys["journey"], journeys["channel"]))


def _alike(journey: pl.Series, channel: pl.Series) -> NDArray[np.int64]:
    """How many touches of its journey have the touch's channel. `pl.len().over("journey", "channel")` is slower: it
    does not know that journeys stand together, and that channels are few."""
    number = channel.cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
    key = journey.to_numpy() * (number.max(initial=0) + 1) + number
    order = np.argsort(key)
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(key)))
    alike = np.empty(len(key), np.int64)
    alike[order] = np.repeat(lengths, lengths)
    return alike


MODEL = Model(
    "shapley", "Every channel of the journey gets the same (its Shapley value), shared by its touches.", weights
)
