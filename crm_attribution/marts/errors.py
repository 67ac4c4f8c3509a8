"""Run the query of a file; what goes wrong names the file and never shows a value."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import duckdb

from crm_attribution.errors import ConfigurationError, Terminal

# These speak of the query or the machine. All others (conversions, overflows, error()) quote the data.
_ABOUT_THE_QUERY = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.SyntaxException)
_ABOUT_THE_MACHINE = (duckdb.OperationalError, duckdb.InternalException)


def run_within(seconds: float, connection: duckdb.DuckDBPyConnection, sql: str, path: Path) -> None:
    """As `run`, for queries that a user writes: one that takes longer is ended.

    Raises:
        ConfigurationError: also when it takes longer.
    """
    watch = threading.Timer(seconds, connection.interrupt)
    watch.daemon = True
    began = time.monotonic()
    watch.start()
    try:
        run(connection, sql, path)
    except Terminal as error:
        if time.monotonic() - began < seconds or not isinstance(error.__context__, duckdb.InterruptException):
            raise
        raise ConfigurationError(f"{path}: takes more than {seconds:g} s: let it read less") from None
    finally:
        watch.cancel()
        watch.join()


def run(connection: duckdb.DuckDBPyConnection, sql: str, path: Path, most: int | None = None) -> list[Any]:
    """Execute; the rows, or the first of them.

    Raises:
        ConfigurationError: when DuckDB does not accept the query.
        Terminal: when it fails while running. The cause is cut off where it may carry personal data.
    """
    try:
        done = connection.execute(sql)
        return done.fetchall() if most is None else done.fetchmany(most)
    except _ABOUT_THE_QUERY as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except _ABOUT_THE_MACHINE as error:
        raise Terminal(f"{path}: {error}") from error
    except duckdb.Error as error:
        raise Terminal(
            f"{path}: the query fails on its data ({type(error).__name__}); the value is not shown here, run the"
            " SELECT by hand to see it"
        ) from None
