"""`crm-attribution quarantine`: the rows that were refused, each field with its reason and what to do; no values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from crm_attribution.clock import iso
from crm_attribution.contracts import CONTRACTS
from crm_attribution.contracts.base import Column
from crm_attribution.errors import ConfigurationError
from crm_attribution.findings import did_you_mean
from crm_attribution.operations.console import wide_console
from crm_attribution.orchestration.resources import open_warehouse
from crm_attribution.redaction import redact
from crm_attribution.settings import Settings
from crm_attribution.sources import sources
from crm_attribution.sources.fixes import fix
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.session import Session

_NEXT_FIELD = re.compile(r"; (?=\w+:)")
"""Between the fields of a row: a reason may have a semicolon of its own."""

PATIENCE = 5.0
"""Seconds to wait for the writer's file: a question, not a run."""


@dataclass(frozen=True)
class Asked:
    """Which refused rows: of one table, with a text in their reason, the newest first and so many fields at most."""

    table: str | None = None
    reason: str | None = None
    limit: int = 100


def listed(given: Settings, asked: Asked) -> dict[str, Any]:
    """The fields that were refused and have not come in good order since.

    Returns:
        fields: table, key of the row, field, reason, fix, whether the rest of the row is stored, source, refused_at;
        left_out: how many more there are. Values are left out, and addresses in keys are masked.

    Raises:
        ConfigurationError: when no table of this name has a quarantine, or nothing was run yet.
        WarehouseBusy: a run holds the warehouse.
    """
    sources()  # registers the contracts that stand in the files of sources
    warehouse = open_warehouse(given, PATIENCE)
    if not warehouse.path.exists():
        raise ConfigurationError("the warehouse is empty: run the first hour")
    with warehouse.session() as session:
        found = [row for table in _tables(session, asked.table) for row in _of_table(session, table, given)]
    wanted = [row for row in found if asked.reason is None or asked.reason in f"{row['field']}:{row['reason']}"]
    wanted.sort(key=lambda row: row["refused_at"], reverse=True)
    return {"fields": wanted[: asked.limit], "left_out": max(0, len(wanted) - asked.limit)}


def _tables(session: Session, wanted: str | None) -> list[str]:
    there: list[str] = session.query(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'quarantine' ORDER BY 1"
    )["table_name"].to_list()
    if wanted is None:
        return there
    name = wanted.rpartition(".")[2]
    if name not in there:
        raise ConfigurationError(f"no rows of {wanted} are ever refused" + did_you_mean(name, there))
    return [name]


def _of_table(session: Session, table: str, given: Settings) -> Iterator[dict[str, Any]]:
    rows = session.query(
        f"SELECT key, reasons, source, stored, observed_at FROM quarantine.{q(table)} WHERE NOT resolved ORDER BY key"
    )
    for row in rows.iter_rows(named=True):
        for part in _NEXT_FIELD.split(row["reasons"]):
            field, _, reason = part.partition(":")
            yield {
                "table": f"raw.{table}",
                "key": redact(row["key"], given.secrets()),
                "field": field,
                "reason": reason,
                "fix": _fix(table, field, reason),
                "rest_is_stored": bool(row["stored"]),
                "source": redact(row["source"] or "", given.secrets()),
                "refused_at": iso(row["observed_at"]),
            }


def _fix(table: str, field: str, reason: str) -> str:
    """What to do about a field: by its reason, else by what its column must hold."""
    known = fix(reason)
    if known is not None:
        return known
    if field in ("file", "row"):
        return "correct the file and drop it into its folder again"
    contract = CONTRACTS.get(f"raw.{table}")
    columns = {column.name: column for column in contract.columns} if contract else {}
    if field in columns:
        column = columns[field]
        must = [*filter(None, map(in_words, (_kind(column), *column.checks))), *([] if column.nullable else ["given"])]
        return f"correct it where the row comes from; it is: {column.description} ({', '.join(must)})"
    return "correct it in the record, in the program of the source"


_KINDS = {
    pl.Datetime: "a time such as 2026-03-31T14:00:00Z",
    pl.Date: "a date such as 2026-03-31",
    pl.Boolean: "true or false",
    pl.List: "a list",
    pl.String: "text",
    pl.Float64: "a number",
}
_CHECKS = {
    r"isin\(\[(.*)\]\)": r"one of \1",
    r"greater_than_or_equal_to\((.*)\)": r"\1 or more",
    r"less_than_or_equal_to\((.*)\)": r"\1 or less",
    r"str_length\(1, None\)": "not empty",
    r"str_matches\('\^\[0-9\]\+\$'\)": "digits",
    r"str_matches\('\^\[A-Z\]\{3\}\$'\)": "three capitals such as EUR",
    r"str_matches\(.*\)": "",
}


def _kind(column: Column) -> str:
    return _KINDS.get(column.dtype.base_type(), "a whole number")


def in_words(check: str) -> str:
    """A check of a contract as people say it; what is none stays."""
    for pattern, words in _CHECKS.items():
        if (found := re.fullmatch(pattern, check)) is not None:
            return found.expand(words).replace("'", "")
    return check


def _why(reason: str) -> str:
    words = in_words(reason)
    return reason if words == reason else f"must be {words or 'written otherwise'}"


def show(result: dict[str, Any]) -> None:
    """For people."""
    console = wide_console()

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    for row in result["fields"]:
        rest = "the rest of the row is stored" if row["rest_is_stored"] else "the row is not stored"
        say(f"{row['table']} {row['key']}: {row['field']}: {_why(row['reason'])}; {rest}")
        say(f"    from {row['source'] or 'an unknown source'}, refused {row['refused_at']}")
        say(f"    {row['fix']}")
    if not result["fields"]:
        say("nothing is in quarantine")
    if result["left_out"]:
        say(f"{result['left_out']} more: --limit, --table, --reason")
