"""Small frames of keys."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl


def records_frame(name: str, ids: Iterable[int]) -> pl.DataFrame:
    """One Int64 column of distinct record ids, ascending."""
    return pl.DataFrame({name: sorted(set(ids))}, schema={name: pl.Int64})


def ids_frame(name: str, values: Iterable[str]) -> pl.DataFrame:
    """One String column of distinct keys that are text, such as person, account or event ids."""
    return pl.DataFrame({name: sorted(set(values))}, schema={name: pl.String})
