"""Queries on the published file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import polars as pl

from crm_attribution import stopping
from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.as_of import create_macros
from crm_attribution.warehouse.engine import open_reader


def read(published: Path, sql: str) -> pl.DataFrame:
    """The rows of one query on a published file, read-only: no lock is taken, nothing can be changed and no other
    file is read or written.

    Raises:
        ConfigurationError: when the file is not there, there are several statements, or DuckDB refuses the
            query; the message is DuckDB's.
    """
    return read_all(published, {"": sql})[""]


def read_all(published: Path, queries: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """The rows of several queries, by their names, of one moment of the published file.

    Raises:
        ConfigurationError: as `read`.
    """
    if not published.exists():
        raise ConfigurationError(f"{published} is not there yet: the first run that completes publishes it")
    try:
        with open_reader(published) as connection:
            create_macros(connection)
            connection.execute("SET enable_external_access = false")  # COPY … TO and ATTACH reach files beside it
            return {name: _answer(connection, sql) for name, sql in queries.items()}
    except TypeError:
        raise ConfigurationError("the query is no text that can be read: use UTF-8 (LC_ALL=C.UTF-8)") from None
    except duckdb.Error as error:
        raise ConfigurationError(f"the query failed: {error}") from error


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    if len(connection.extract_statements(sql)) > 1:
        raise ConfigurationError("there are several statements: give one SELECT")
    relation = connection.sql(sql)
    if relation is None:
        raise ConfigurationError("the statement returns no rows: give one SELECT")
    return _rows(relation)


def _rows(relation: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """The rows of a query, of types that Polars has.

    Raises:
        ConfigurationError: for intervals, and timestamps beyond the year 9999.
    """
    try:
        rows: pl.DataFrame = relation.pl()
        rows.rows()  # infinite timestamps show only when they are looked at
    except duckdb.Error:
        raise
    except BaseException as error:  # what Rust panics with is no Exception
        if stopping.is_stop(error):
            raise
        raise ConfigurationError(
            f"the query gives a value that cannot be shown ({type(error).__name__}): cast it to VARCHAR"
        ) from None
    return rows
