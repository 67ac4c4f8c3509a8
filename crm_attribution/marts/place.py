"""The place of a model in the database: where its schema is, what stands there, its columns and their comments."""

from __future__ import annotations

import duckdb

from crm_attribution.errors import ConfigurationError, ContractViolation
from crm_attribution.marts.discovery import SqlModel
from crm_attribution.warehouse.identifiers import quote_identifier, quote_literal

_MARTS_REFUSE = {"HUGEINT", "UHUGEINT"}

Columns = list[tuple[str, str]]

PART = "part"
"""The database that holds what belongs to some keys (`marts/part.py`)."""


def kind_of(connection: duckdb.DuckDBPyConnection, home: str, model: SqlModel) -> str | None:
    """`table` or `view`, as which the model stands there; None where it does not."""
    found = connection.execute(
        "SELECT 'table' FROM duckdb_tables() WHERE database_name = $1 AND schema_name = $2 AND table_name = $3"
        " UNION ALL"
        " SELECT 'view' FROM duckdb_views() WHERE database_name = $1 AND schema_name = $2 AND view_name = $3",
        [home, model.schema, model.name],
    ).fetchall()
    return str(found[0][0]) if found else None


def home_of(connection: duckdb.DuckDBPyConnection, model: SqlModel) -> str:
    """The attached database that holds the model's schema."""
    found = connection.execute(
        "SELECT DISTINCT database_name FROM duckdb_schemas()"
        f" WHERE NOT internal AND schema_name = $1 AND database_name <> '{PART}'",
        [model.schema],
    ).fetchall()
    if len(found) != 1:
        where = f"in {', '.join(sorted(name for (name,) in found))}" if found else "nowhere"
        raise ConfigurationError(
            f"{model.path}: schema {model.schema} exists {where}; it must exist in exactly one attached database"
        )
    return str(found[0][0])


def model_columns(connection: duckdb.DuckDBPyConnection, model: SqlModel) -> Columns:
    """Names and types of a model's table as it is; empty when there is none."""
    return columns_of(connection, home_of(connection, model), model.schema, model.name)


def columns_of(connection: duckdb.DuckDBPyConnection, database: str, schema: str, table: str) -> Columns:
    """Names and types in order; empty when there is no such table."""
    return connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE database_name = $1 AND schema_name = $2 AND table_name = $3 ORDER BY column_index",
        [database, schema, table],
    ).fetchall()


def columns_of_all(connection: duckdb.DuckDBPyConnection) -> dict[str, Columns]:
    """`schema.table` -> names and types, of every table and view; in one question, which costs as much as for one."""
    found: dict[str, Columns] = {}
    for table, column, data_type in connection.execute(
        "SELECT schema_name || '.' || table_name, column_name, data_type FROM duckdb_columns()"
        " WHERE NOT internal ORDER BY database_name, column_index"
    ).fetchall():
        found.setdefault(table, []).append((column, data_type))
    return found


def check_columns(model: SqlModel, columns: Columns) -> None:
    documented = [column.name for column in model.columns]
    returned = [name for name, _ in columns]
    if documented != returned:
        missing = [name for name in documented if name not in returned]
        undocumented = [name for name in returned if name not in documented]
        wrong = [
            f"documented but not returned: {', '.join(missing)}" if missing else "",
            f"returned but not documented: {', '.join(undocumented)}" if undocumented else "",
            f"the order returned is {', '.join(returned)}" if not missing and not undocumented else "",
        ]
        raise ContractViolation(
            f"{model.path}: the @column lines and the SELECT differ: {'; '.join(filter(None, wrong))}"
        )
    wide = [name for name, data_type in columns if data_type in _MARTS_REFUSE] if model.schema == "marts" else []
    if wide:
        raise ContractViolation(
            f"{model.path}: {', '.join(wide)} would be HUGEINT, which many clients cannot read; cast to BIGINT"
        )


def write_comments(connection: duckdb.DuckDBPyConnection, model: SqlModel, home: str) -> None:
    """Put the descriptions into the database where they differ from what it has."""
    place = [home, model.schema, model.name]
    table = quote_identifier(*place)
    stored = dict(
        connection.execute(
            "SELECT NULL, comment FROM duckdb_tables()"
            " WHERE database_name = $1 AND schema_name = $2 AND table_name = $3"
            " UNION ALL SELECT NULL, comment FROM duckdb_views()"
            " WHERE database_name = $1 AND schema_name = $2 AND view_name = $3"
            " UNION ALL SELECT column_name, comment FROM duckdb_columns()"
            " WHERE database_name = $1 AND schema_name = $2 AND table_name = $3",
            place,
        ).fetchall()
    )
    if stored.get(None) != model.description:
        connection.execute(
            f"COMMENT ON {'VIEW' if model.view else 'TABLE'} {table} IS {quote_literal(model.description)}"
        )
    for column in model.columns:
        if stored.get(column.name) != column.description:
            name = f"{table}.{quote_identifier(column.name)}"
            connection.execute(f"COMMENT ON COLUMN {name} IS {quote_literal(column.description)}")
