"""Tests. Frames here are small: with a thread for each core Polars spends a fifth of the time on waking them."""

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")
