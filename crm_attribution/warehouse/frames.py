"""Small frames of keys."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl


def ids_frame(name: str, values: Iterable[str]) -> pl.DataFrame:
    """One column of distinct ids."""
    return pl.DataFrame({name: sorted(set(values))}, schema={name: pl.String})
