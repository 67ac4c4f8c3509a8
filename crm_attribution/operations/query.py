"""A SQL query on what finance reads, from the command line."""

from __future__ import annotations

import polars as pl
from rich.table import Table

from crm_attribution.marts import query
from crm_attribution.operations.console import wide_console
from crm_attribution.settings import Settings
from crm_attribution.warehouse.connection import Warehouse

"""Columns where the output is not a terminal: a file or pipe takes whole rows."""


def run(given: Settings, sql: str) -> pl.DataFrame:
    """The rows of `sql` on `finance.duckdb` of the data directory.

    Raises:
        ConfigurationError: when nothing is published yet, or DuckDB refuses the query.
    """
    return query.read(Warehouse(given.data_dir).finance_path, sql)


def show(rows: pl.DataFrame, limit: int) -> None:
    """Print the first rows as a table, and how many there are in all where that is more."""
    table = Table(*rows.columns)
    for row in rows.head(limit).iter_rows():
        table.add_row(*("" if value is None else str(value) for value in row))
    console = wide_console()
    console.print(table)
    if rows.height > limit:
        console.print(f"{limit} of {rows.height} rows; --limit shows more")
