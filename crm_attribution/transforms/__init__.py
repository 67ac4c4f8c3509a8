"""Pure transforms: Polars frames in, Polars frames out. No Dagster, no HTTP, no DuckDB, no clock."""
