"""SQL functions of a session, for the models of `dbt_like_sql`. None reads a table, so no file has to declare them."""

from __future__ import annotations

import duckdb

_ADDRESS = r"[^@\s]+@[^@\s]+\.[^@\s]+"
MACROS = {
    "withheld": f"(given) AS CASE WHEN regexp_matches(given, '{_ADDRESS}') THEN '(withheld)' ELSE given END",
}
"""Name -> parameters and body. withheld: a text, unless something in it looks like an e-mail address."""


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Make them for this connection alone: no file has them."""
    for name, body in MACROS.items():
        connection.execute(f"CREATE OR REPLACE TEMP MACRO {name}{body}")
