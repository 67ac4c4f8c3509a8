"""Runs in the peer's own environment: `marketing-attribution-models` 2 over a file of paths (`benchmarks.attribution`).

What is timed includes that it splits credit inside each journey.
"""

from __future__ import annotations

import json
import sys
import time

import polars as pl
from mam import MAM  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    made = MAM(
        pl.read_csv(sys.argv[1]).with_columns(times=pl.lit(1)),
        format_type="grouped_journey",
        channels_colname="path",
        journey_with_conv_colname="converted",
        occurrences_colname="times",
    )
    started = time.process_time()
    markov = made.run_markov()
    markov_seconds = time.process_time() - started
    started = time.process_time()
    made.run_shapley(max_size=8, value_column="conversions")
    shapley_seconds = time.process_time() - started
    effects = markov.metadata["removal_effect"]["removal_effect"].to_dict()
    print(json.dumps({"markov_seconds": markov_seconds, "shapley_seconds": shapley_seconds, "effects": effects}))


if __name__ == "__main__":
    main()
