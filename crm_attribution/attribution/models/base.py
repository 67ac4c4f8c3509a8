"""An attribution model: a name, and a weight for every touch of every journey."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

Parameters = Mapping[str, int]
Weights = Callable[[pl.DataFrame, Parameters], pl.Expr | pl.Series]
"""Whole numbers of 0 or more, one for each row of the journeys; a touch's share is its weight over the sum of its
journey's. Pure: the same journeys and parameters give the same weights."""


@dataclass(frozen=True)
class Model:
    """An attribution model.

    The function `weights` is given the journeys, sorted by milestone, milestone_id, touched_at, touch_id:

    - milestone, milestone_id (String): the outcome.
    - occurred_at (Datetime us, UTC): when the outcome happened.
    - touch_id, channel (String), touched_at (Datetime us, UTC): the touch; channel is null where it is not known.
    - i, n (Int64): the touch is the i-th of n, from 1.

    When all weights of a journey are 0, its outcome is unattributed.

    Attributes:
        name: as in the mapping (`attribution.models`) and in attribution.credit.
        description: one sentence for people who choose a model.
        weights: see above.
        parameters: its parameters with their defaults; the mapping sets others under `attribution.parameters`.
        over_all: whether a weight depends on other journeys than its own. Then a change of one outcome computes the
            credit of all, and `weights` is given all.
    """

    name: str
    description: str
    weights: Weights
    parameters: Parameters = field(default_factory=dict)
    over_all: bool = False
