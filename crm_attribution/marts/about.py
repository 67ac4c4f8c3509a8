"""Two tables of the published file that no query makes: `marts.about`, what the file is, and `marts.data_dictionary`,
what its tables and columns mean. The publication writes them into the marts file before it copies it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import duckdb

from crm_attribution.warehouse.identifiers import quote_identifier, quote_literal

ABOUT, DICTIONARY = "about", "data_dictionary"
SCHEMA = "marts"

_ABOUT = {
    "as_of": (
        "TIMESTAMP",
        "end of the newest hour that changed a figure, UTC; finance.manifest.json has the newest hour",
    ),
    "snapshot_id": ("VARCHAR", "the same exactly where all tables are the same; also in the manifest"),
    "portal_id": ("VARCHAR", "HubSpot portal (account) id"),
    "time_zone": ("VARCHAR", "the HubSpot account's time zone, IANA name: finance days and months are its days"),
    "home_currency": ("VARCHAR", "home currency of the HubSpot account, ISO 4217; null where it has none"),
    "mapping_version": ("VARCHAR", "fingerprint of the mapping file that made the figures"),
    "product_version": ("VARCHAR", "version of crm_attribution"),
}
_DICTIONARY = {
    "table_name": ("VARCHAR", "table of the schema marts"),
    "position": ("BIGINT", "place of the column in its table, from 1; 0 is the table itself"),
    "column_name": ("VARCHAR", "column; null for the table itself"),
    "data_type": ("VARCHAR", "type as DuckDB writes it; timestamps are UTC; null for the table itself"),
    "description": ("VARCHAR", "what it means, with unit and definition"),
}
_WHAT = {
    ABOUT: "What this file is: one row.",
    DICTIONARY: "What each table and column of this file means: one row per table and per column.",
}


@dataclass(frozen=True)
class Origin:
    """Where the figures come from."""

    portal_id: str | None = None
    time_zone: str | None = None
    home_currency: str | None = None
    mapping_version: str | None = None
    product_version: str | None = None


def origin(connection: duckdb.DuckDBPyConnection, mapping_version: str) -> Origin:
    """Of the warehouse that a connection has open."""
    row = connection.execute("SELECT portal_id, time_zone, company_currency FROM raw.account").fetchone()
    portal_id, time_zone, home_currency = row or (None, None, None)
    return Origin(portal_id, time_zone, home_currency, mapping_version, version("crm_attribution"))


def write_about(
    connection: duckdb.DuckDBPyConnection, alias: str, of: Origin, as_of: datetime, snapshot_id: str
) -> None:
    """Say in the marts file what it is."""
    values = {"as_of": as_of.astimezone(UTC).replace(tzinfo=None), "snapshot_id": snapshot_id, **asdict(of)}
    _create(connection, alias, ABOUT, _ABOUT)
    names = ", ".join(values)
    places = ", ".join("?" * len(values))
    connection.execute(
        f"INSERT INTO {quote_identifier(alias, SCHEMA, ABOUT)} ({names}) VALUES ({places})", list(values.values())
    )


def write_dictionary(connection: duckdb.DuckDBPyConnection, alias: str) -> None:
    """Bring marts.data_dictionary up to date with the tables and their comments, where they differ."""
    for name, columns in ((ABOUT, _ABOUT), (DICTIONARY, _DICTIONARY)):
        found = connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = ? AND schema_name = ?"
            " AND table_name = ? ORDER BY column_index",
            [alias, SCHEMA, name],
        ).fetchall()
        if found != [(column, kind) for column, (kind, _) in columns.items()]:
            _create(connection, alias, name, columns)
    table = quote_identifier(alias, SCHEMA, DICTIONARY)
    wanted = (
        "SELECT table_name, 0::BIGINT AS position, NULL AS column_name, NULL AS data_type, comment AS description"
        f" FROM duckdb_tables() WHERE database_name = {quote_literal(alias)} AND schema_name = '{SCHEMA}'"
        " UNION ALL SELECT table_name, column_index::BIGINT, column_name, data_type, comment"
        f" FROM duckdb_columns() WHERE database_name = {quote_literal(alias)} AND schema_name = '{SCHEMA}'"
    )
    both = f"SELECT 1 FROM (({wanted}) EXCEPT FROM {table}) UNION ALL SELECT 1 FROM (FROM {table} EXCEPT ({wanted}))"
    if connection.execute(both).fetchall():
        connection.execute("BEGIN")
        try:
            connection.execute(f"DELETE FROM {table}")
            connection.execute(f"INSERT INTO {table} {wanted} ORDER BY 1, 2").fetchall()
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _create(
    connection: duckdb.DuckDBPyConnection, alias: str, name: str, columns: Mapping[str, tuple[str, str]]
) -> None:
    """The table, empty and described."""
    table = quote_identifier(alias, SCHEMA, name)
    typed = ", ".join(f"{column} {kind}" for column, (kind, _) in columns.items())
    connection.execute(f"CREATE OR REPLACE TABLE {table} ({typed})")
    connection.execute(f"COMMENT ON TABLE {table} IS {quote_literal(_WHAT[name])}")
    for column, (_, text) in columns.items():
        connection.execute(f"COMMENT ON COLUMN {table}.{column} IS {quote_literal(text)}")
