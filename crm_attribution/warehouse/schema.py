"""Tables from contracts, and the schema version with its forward migrations.

The warehouse carries a version in `meta.schema_version`. Opening an older one migrates it forward, one step a
transaction; opening a newer one is refused. A column added to a contract needs no step of its own: missing
columns are added as null.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from crm_attribution.contracts import CONTRACTS, SCHEMAS, Contract
from crm_attribution.errors import CommitLost, ConfigurationError
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.migrations import MIGRATIONS, create_marker

SCHEMA_VERSION = 14

_META_TABLES = {
    "schema_version": "version INTEGER NOT NULL",
    "migration": "version INTEGER NOT NULL, name VARCHAR NOT NULL, applied_at TIMESTAMPTZ NOT NULL",
    "change": "seq BIGINT NOT NULL, topic VARCHAR NOT NULL, key VARCHAR[] NOT NULL",
    "cursor": "consumer VARCHAR NOT NULL, seq BIGINT NOT NULL, signature VARCHAR NOT NULL",
    "version": "name VARCHAR NOT NULL, version BIGINT NOT NULL",
    "model": "name VARCHAR NOT NULL, signature VARCHAR NOT NULL, inputs JSON NOT NULL, ran VARCHAR NOT NULL,"
    " rows BIGINT NOT NULL",
    "fact": "name VARCHAR NOT NULL, value VARCHAR NOT NULL",
}
"""No keys: nothing in the warehouse has an index."""


def initialise(connection: duckdb.DuckDBPyConnection) -> None:
    """Create what is missing and migrate what is old.

    Raises:
        ConfigurationError: when the warehouse was written by a newer version of this package.
    """
    found = _version(connection)
    if found is not None and found > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the warehouse has schema version {found}, this program knows up to {SCHEMA_VERSION}: upgrade the program"
        )
    if found != SCHEMA_VERSION:
        with_meta(connection)
    if found is None:
        connection.execute("INSERT INTO meta.schema_version VALUES (?)", [SCHEMA_VERSION])
    for version in range(found or SCHEMA_VERSION, SCHEMA_VERSION):
        _migrate(connection, version)
    _create_tables(connection)


def _migrate(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    """One step, all or nothing."""
    step = MIGRATIONS[version]
    connection.execute("BEGIN")
    try:
        connection.execute(f"CREATE TABLE IF NOT EXISTS meta.migration ({_META_TABLES['migration']})")
        step(connection)
        connection.execute("INSERT INTO meta.migration VALUES (?, ?, now())", [version + 1, step.__name__])
        connection.execute("UPDATE meta.schema_version SET version = ?", [version + 1])
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    if _version(connection) != version + 1:
        raise CommitLost(f"the migration of the warehouse to schema version {version + 1} was not kept; run it again")


def with_meta(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the bookkeeping tables: version, change journal, cursors, facts about the data directory."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS meta")
    for name, columns in _META_TABLES.items():
        connection.execute(f"CREATE TABLE IF NOT EXISTS meta.{name} ({columns})")
    connection.execute("CREATE SEQUENCE IF NOT EXISTS meta.change_seq START 1")
    create_marker(connection)


def _version(connection: duckdb.DuckDBPyConnection) -> int | None:
    (known,) = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'meta' AND table_name = 'schema_version'"
        " AND database_name = current_database()"
    ).fetchall()
    if not known[0]:
        return None
    rows = connection.execute("SELECT max(version) FROM meta.schema_version").fetchall()
    return int(rows[0][0]) if rows[0][0] is not None else None


def _create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    for schema in SCHEMAS:
        if schema != "marts":
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {q(schema)}")
    existing: dict[tuple[str, str], dict[str | None, str | None]] = {}
    """Table -> its columns with their comments; None is the table itself."""
    for schema, table, column, comment in connection.execute(
        "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns()"
        " WHERE database_name = current_database()"
        " UNION ALL SELECT schema_name, table_name, NULL, comment FROM duckdb_tables()"
        " WHERE database_name = current_database()"
    ).fetchall():
        existing.setdefault((schema, table), {})[column] = comment
    for contract in CONTRACTS.values():
        have = existing.get((contract.schema, contract.table))
        if have is None:
            connection.execute(create_table(contract))
        else:
            for column in contract.columns:
                if column.name not in have:
                    connection.execute(
                        f"ALTER TABLE {table_name(contract.name)} ADD COLUMN {q(column.name)} {column.duckdb_type}"
                    )
        _comment(connection, contract, have or {})
        if contract.schema == "raw":
            refused = existing.get(("quarantine", contract.table))
            if refused is None:
                connection.execute(create_quarantine(contract))
            elif "stored" not in refused:
                connection.execute(f"ALTER TABLE quarantine.{q(contract.table)} ADD COLUMN stored BOOLEAN")


def create_table(contract: Contract) -> str:
    """The DDL of a contract. No primary key: uniqueness is a check (an index doubles the file and its cost)."""
    columns = ", ".join(
        f"{q(column.name)} {column.duckdb_type}{'' if column.nullable else ' NOT NULL'}" for column in contract.columns
    )
    return f"CREATE TABLE {table_name(contract.name)} ({columns})"


QUARANTINE_COLUMNS = ("key", "reasons", "row", "source", "observed_at", "resolved", "stored")
"""Columns of each table of the schema quarantine."""


def create_quarantine(contract: Contract) -> str:
    """Refused rows of a raw table: key, failed checks, the row as JSON, when, whether it was mended since, and whether
    it was stored without the fields that failed."""
    return (
        f"CREATE TABLE quarantine.{q(contract.table)} (key VARCHAR NOT NULL, reasons VARCHAR NOT NULL, row JSON,"
        " source VARCHAR, observed_at TIMESTAMPTZ NOT NULL, resolved BOOLEAN NOT NULL, stored BOOLEAN)"
    )


def table_name(name: str) -> str:
    """`schema.table`, quoted."""
    schema, table = name.split(".")
    return f"{q(schema)}.{q(table)}"


def _comment(connection: duckdb.DuckDBPyConnection, contract: Contract, have: Mapping[str | None, str | None]) -> None:
    """Put the descriptions into the database where they differ from what it has: also of a column that was added, and
    of one that was described otherwise by an earlier release."""
    name = table_name(contract.name)
    if have.get(None) != contract.description:
        connection.execute(f"COMMENT ON TABLE {name} IS {_literal(contract.description)}")
    for column in contract.columns:
        if have.get(column.name) != column.description:
            connection.execute(f"COMMENT ON COLUMN {name}.{q(column.name)} IS {_literal(column.description)}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
