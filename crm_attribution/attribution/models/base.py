"""An attribution model: a name, and a weight for every touch of every journey."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

Parameters = Mapping[str, int]
Weights = Callable[[pl.DataFrame, Parameters], pl.Expr | pl.Series]
"""Whole numbers of 0 or more, one for each row of the journeys; a touch's share is its weight over the sum of its
journey's. Pure: the same journeys and parameters give the same weights. The weights of one journey add up to less than
2^48."""

Learn = Callable[[pl.DataFrame, Parameters], pl.DataFrame]
"""From paths (path List[String]: the channels in their order; converted Boolean; journeys Int64: how many had this
path) to channel String, effect Int64 of 0 or more: what the model needs to know of each channel."""

SCALE = 1 << 30
"""One, for weights that are no whole numbers."""


@dataclass(frozen=True)
class Model:
    """An attribution model.

    The function `weights` is given journeys, one row for each touch; those of a journey stand together, in the order of
    (touched_at, touch_id):

    - journey (Int64): the outcome's number; the key for windows over a journey.
    - occurred_at (Datetime us, UTC): when the outcome happened.
    - touch_id, channel, campaign, person_id (String), touched_at (Datetime us, UTC): the touch; campaign and person are
      null where they are not known.
    - is_direct (Boolean): the channel is one of `attribution.direct_channels`.
    - i, n (Int64): the touch is the i-th of n, from 1.
    - ago, last_ago (Int64): microseconds from the touch, and from the journey's last touch, to the outcome.
    - lead, deal, close (Int64): position of the last touch at or before the account became a lead, the deal was
      created, the deal was won; null where there is no such touch or moment.
    - effect (Int64): what `learn` found for the channel; null where it knows nothing of it.

    When all weights of a journey are 0, its outcome is unattributed.

    Attributes:
        name: as in the mapping (`attribution.models`) and in attribution.credit.
        description: one sentence for people who choose a model.
        weights: see above.
        parameters: its parameters with their defaults; the mapping sets others under `attribution.parameters`.
        learn: of a model that weighs channels by what other journeys show. It is given the journeys of the months
            before the one in which the outcome happened (parameter `months`), so that a month, once begun, stays as it
            is.
        answers: it shares an outcome among answers (attribution.self_reported) and not among touches; the rows
            of the journeys are answers then.
    """

    name: str
    description: str
    weights: Weights
    parameters: Parameters = field(default_factory=dict)
    learn: Learn | None = None
    answers: bool = False
