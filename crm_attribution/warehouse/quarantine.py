"""Refused rows of the tables that are fed from outside, with their reasons."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.sql import Sql


class Quarantine:
    """`quarantine.*`, a table per table of raw."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def add(self, name: str, bad: pl.DataFrame, *, observed_at: datetime) -> None:
        """Keep refused rows (`key`, `reasons`, `row`, `source`, `stored`) once per key and reason; `stored` tells that
        the row was stored without the fields that could not be read. What waits already, just as it is, stays since
        when it does."""
        table = f"quarantine.{q(CONTRACTS[name].table)}"
        if bad.is_empty():
            return
        stored = pl.col("stored") if "stored" in bad.columns else pl.lit(False).alias("stored")
        rows = bad.select("key", "reasons", "row", "source", stored).unique(maintain_order=True)
        self._sql.materialise("_bad", rows)
        both = "key, reasons, row::VARCHAR AS row, source, stored"
        waiting = f"SELECT {both} FROM {table} t WHERE NOT resolved AND key IN (SELECT key FROM _bad)"
        self._sql.connection.execute(
            "CREATE OR REPLACE TEMP TABLE _other AS SELECT DISTINCT key FROM"
            f" ((SELECT {both} FROM _bad EXCEPT {waiting}) UNION ALL ({waiting} EXCEPT SELECT {both} FROM _bad))"
        )
        self._sql.connection.execute("DELETE FROM temp._bad WHERE key NOT IN (SELECT key FROM _other)")
        self._sql.connection.execute(f"DELETE FROM {table} t USING _bad b WHERE t.key = b.key")
        self._sql.connection.execute(
            f"INSERT INTO {table} (key, reasons, row, source, observed_at, resolved, stored)"
            " SELECT key, reasons, row, source, ?, false, stored FROM _bad",
            [observed_at],
        )
        self._sql.connection.execute("DROP TABLE temp._bad")
        self._sql.connection.execute("DROP TABLE temp._other")

    def waiting(self, name: str) -> list[str]:
        """Keys of refused rows that have not come in good order since."""
        table = f"quarantine.{q(CONTRACTS[name].table)}"
        keys: list[str] = self._sql.query(f"SELECT DISTINCT key FROM {table} WHERE NOT resolved")["key"].to_list()
        return keys

    def resolve(self, name: str, keys: pl.Series) -> None:
        """Mark refused rows whose key has since come in good order."""
        table = f"quarantine.{q(CONTRACTS[name].table)}"
        if self._sql.scalar(f"SELECT count(*) FROM {table} WHERE NOT resolved"):
            with self._sql.registered({"_keys": pl.DataFrame({"key": keys.cast(pl.String)})}):
                self._sql.connection.execute(
                    f"UPDATE {table} SET resolved = true WHERE NOT resolved AND key IN (SELECT key FROM _keys)"
                )
