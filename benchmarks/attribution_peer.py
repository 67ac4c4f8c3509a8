"""Runs in the peer's own environment: `marketing-attribution-models` 2 over a file of paths (`benchmarks.attribution`).

"Shared" is the model with the credit split inside each journey and summed by channel. Reading the file is not timed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import polars as pl
from mam import MAM  # type: ignore[import-not-found,unused-ignore]
from mam.models.markov import MarkovModel  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    made = MAM(
        pl.read_csv(sys.argv[1]).with_columns(times=pl.lit(1)),
        format_type="grouped_journey",
        channels_colname="path",
        journey_with_conv_colname="converted",
        occurrences_colname="times",
    )
    acts = {
        "removal effects": lambda: MarkovModel()._compute_markov(made.unified_df),
        "Markov, shared": made.run_markov,
        "Shapley, shared": lambda: made.run_shapley(max_size=8, value_column="conversions"),
    }
    seconds = {name: min(taken(act) for _ in range(int(sys.argv[2]))) for name, act in acts.items()}
    effects = made.run_markov().metadata["removal_effect"]["removal_effect"].to_dict()
    print(json.dumps({**seconds, "effects": effects}))


def taken(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started


if __name__ == "__main__":
    main()
