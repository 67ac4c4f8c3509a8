"""Figures as they were known at an instant: macros for a connection to the published file.

They are made as temporary macros of the connection, on a file that is open read-only too. The file itself has none: an
older client reads no file with a macro it does not understand.
"""

from __future__ import annotations

import duckdb

KNOWN_AT = "recorded_at <= moment AND (superseded_at IS NULL OR superseded_at > moment)"
_DIMENSIONS = (
    "booked_on, booked_month, posted_month, posted_month <> booked_month AS is_adjustment, milestone, subtype, model,"
    " scope, measure, currency, channel, unattributed_reason, source, medium, campaign"
)
MACROS = {
    "milestone_as_of": (f"SELECT * EXCLUDE (recorded_at, superseded_at) FROM marts.milestone_history WHERE {KNOWN_AT}"),
    "revenue_movement_as_of": (
        "SELECT * EXCLUDE (recorded_at, superseded_at, posted_month, reversed_month) FROM marts.revenue_history"
        f" WHERE {KNOWN_AT}"
    ),
    "revenue_attribution_as_of": (
        f"SELECT {_DIMENSIONS}, sum(sign * credit_minor)::BIGINT AS credit_minor, sum(sign * credit) AS credit,"
        " home_currency, sum(sign * credit_home_minor)::BIGINT AS credit_home_minor,"
        " sum(sign * credit_home) AS credit_home"
        " FROM (SELECT *, 1 AS sign FROM marts.credit_history WHERE recorded_at <= moment"
        " UNION ALL SELECT * REPLACE (reversed_month AS posted_month), -1 FROM marts.credit_history"
        " WHERE superseded_at <= moment)"
        " GROUP BY ALL HAVING sum(sign) > 0 OR sum(sign * credit_minor) <> 0 OR sum(sign * credit_home_minor) <> 0"
    ),
}
"""Name -> body, over the parameter `moment` (a timestamp in UTC)."""


def statements() -> list[str]:
    """The SQL that makes the macros."""
    return [f"CREATE OR REPLACE TEMP MACRO {name}(moment) AS TABLE {body}" for name, body in MACROS.items()]


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the macros for this connection alone, where it has the tables: a file of an earlier release may not."""
    found = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts'").fetchall()
    if {"milestone_history", "revenue_history", "credit_history"} <= {name for (name,) in found}:
        for statement in statements():
            connection.execute(statement)
