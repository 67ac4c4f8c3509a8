"""Which tables a query reads, from the syntax tree of DuckDB's own parser.

The tree is read without a catalog, so a query whose tables do not exist yet is understood too. What cannot be
followed to its tables (macros, files, dynamic names) or would give another answer tomorrow (the clock, chance) is
refused with the line and the way out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from crm_attribution.errors import ConfigurationError

_QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}
_FILE_FORMATS = {"csv", "tsv", "json", "jsonl", "ndjson", "parquet", "gz", "zst", "xlsx", "db", "duckdb"}
_CLOCK_COLUMNS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
_UNREPEATABLE = (
    _CLOCK_COLUMNS
    | {"now", "today", "ago", "clock_timestamp", "statement_timestamp", "transaction_timestamp"}
    | {"get_current_time", "get_current_timestamp", "current_localtime", "current_localtimestamp"}
    | {"random", "setseed", "uuid", "uuidv4", "uuidv7", "gen_random_uuid"}
    | {"nextval", "currval", "getvariable", "txid_current"}
)
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_NO_LOCATION = 2**64 - 1


@dataclass
class _Walk:
    """One pass over one syntax tree: the tables found so far and where to point when something is refused."""

    path: Path
    sql: bytes
    builtins: frozenset[str]
    macros_declared: bool
    tables: set[str] = field(default_factory=set)

    def refuse(self, node: dict[str, Any], why: str) -> ConfigurationError:
        return ConfigurationError(f"{self.place(node.get('query_location', _NO_LOCATION))}: {why}")

    def place(self, offset: int) -> str:
        if offset >= _NO_LOCATION:
            return str(self.path)
        line = self.sql[:offset].count(b"\n") + 1
        return f"{self.path}:{line}"


class DependencyReader:
    """Reads the tables of many queries with one in-memory parser connection."""

    def __init__(self) -> None:
        self._connection = duckdb.connect()
        names = self._connection.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
        self._builtins = frozenset(name for (name,) in names)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> DependencyReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, sql: str, path: Path, *, macros_declared: bool = False) -> frozenset[str]:
        """The `schema.table` names a single SELECT reads.

        Args:
            sql: the whole text of the file, so that lines are those of the file.
            path: the file, for messages.
            macros_declared: whether the file names the tables behind its macros itself.

        Raises:
            ConfigurationError: when the text is not one SELECT whose tables can be told; names file, line and fix.
        """
        walk = _Walk(path, sql.encode(), self._builtins, macros_declared)
        stack: list[tuple[Any, frozenset[str]]] = [(self._parse(sql, walk), frozenset())]
        while stack:
            node, scope = stack.pop()
            if isinstance(node, list):
                stack.extend((child, scope) for child in node)
            elif isinstance(node, dict):
                stack.extend(_visit(node, scope, walk))
        return frozenset(walk.tables)

    def _parse(self, sql: str, walk: _Walk) -> Any:
        row = self._connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchone()
        tree = json.loads(row[0] if row else "{}")
        if tree["error"]:
            if tree["error_type"] == "not implemented":
                raise ConfigurationError(
                    f"{walk.path}: the parser reads plain SELECT statements only; write PIVOT as"
                    " `sum(x) FILTER (WHERE …)` columns or `FROM t PIVOT (… FOR c IN (…))`, and take SET, PRAGMA,"
                    " CREATE and the like out of the file"
                )
            place = walk.place(int(tree.get("position", _NO_LOCATION)))
            raise ConfigurationError(f"{place}: {tree['error_message']}")
        statements = tree["statements"]
        if len(statements) != 1:
            raise ConfigurationError(f"{walk.path}: holds {len(statements)} statements; keep exactly one SELECT")
        return statements[0]


def _visit(node: dict[str, Any], scope: frozenset[str], walk: _Walk) -> list[tuple[Any, frozenset[str]]]:
    """Check one node, collect its table and say which children to look at with which CTE names in scope."""
    if "cte_map" in node:
        return _query(node, scope, walk)
    kind = node.get("type")
    if kind == "BASE_TABLE":
        _base_table(node, scope, walk)
    elif kind == "TABLE_FUNCTION":
        function = node["function"]
        _table_function(node, str(function["function_name"]).lower(), walk)
        rest = {key: value for key, value in node.items() if key != "function"}
        children = {key: value for key, value in function.items() if key != "function_name"}
        return [(list(rest.values()), scope), (list(children.values()), scope)]
    elif kind == "SHOW_REF":
        raise walk.refuse(node, "DESCRIBE, SHOW and SUMMARIZE read the catalog; select from tables instead")
    elif "function_name" in node:
        _function(node, walk)
    elif node.get("class") == "PARAMETER":
        raise walk.refuse(node, "a parameter ($1, ?) has no value here; write the value")
    elif node.get("class") == "COLUMN_REF":
        names = node["column_names"]
        if len(names) == 1 and names[0].lower() in _CLOCK_COLUMNS:
            raise walk.refuse(node, _unrepeatable(names[0]))
    return [(list(node.values()), scope)]


def _query(node: dict[str, Any], scope: frozenset[str], walk: _Walk) -> list[tuple[Any, frozenset[str]]]:
    """A CTE sees those written before it; the body sees them all; a recursive one also sees itself."""
    if node["type"] not in _QUERY_NODES:
        raise walk.refuse(node, "only SELECT is allowed, also inside WITH")
    children: list[tuple[Any, frozenset[str]]] = []
    if node["type"] == "RECURSIVE_CTE_NODE":
        scope |= {node["cte_name"].lower()}
    for entry in node["cte_map"]["map"]:
        children.append((entry["value"], scope))
        scope |= {entry["key"].lower()}
    body = [value for key, value in node.items() if key != "cte_map"]
    return [*children, (body, scope)]


def _base_table(node: dict[str, Any], scope: frozenset[str], walk: _Walk) -> None:
    catalog, schema, table = (str(node.get(f"{key}_name") or "").lower() for key in ("catalog", "schema", "table"))
    if not schema:
        if table not in scope:
            raise walk.refuse(node, f"{table} is neither schema.table nor a WITH query in scope; write its schema")
        return
    if schema == "recurring" and table in scope:
        return
    if catalog:
        raise walk.refuse(node, f"{catalog}.{schema}.{table} names a database; write {schema}.{table}")
    if schema in {"information_schema", "pg_catalog"}:
        raise walk.refuse(node, f"{schema}.{table} is the catalog; select from tables instead")
    if table in _FILE_FORMATS:
        raise walk.refuse(node, f"{schema}.{table} would be read as a file; load files into raw")
    if not (_IDENTIFIER.fullmatch(schema) and _IDENTIFIER.fullmatch(table)):
        raise walk.refuse(node, f"{schema}.{table} is not a plain schema.table name")
    walk.tables.add(f"{schema}.{table}")


def _table_function(node: dict[str, Any], name: str, walk: _Walk) -> None:
    if name in _TABLE_FUNCTIONS:
        return
    if name in walk.builtins:
        raise walk.refuse(
            node, f"{name}() reads files, the catalog or dynamic names; use schema.table or {sorted(_TABLE_FUNCTIONS)}"
        )
    _macro(node, name, walk)


def _function(node: dict[str, Any], walk: _Walk) -> None:
    name = str(node["function_name"]).lower()
    if name in _UNREPEATABLE:
        raise walk.refuse(node, _unrepeatable(f"{name}()"))
    if name not in walk.builtins:
        _macro(node, name, walk)


def _macro(node: dict[str, Any], name: str, walk: _Walk) -> None:
    if not walk.macros_declared:
        raise walk.refuse(
            node,
            f"{name}() is no built-in function and a macro hides its tables; name them in the header as"
            " `-- @depends: schema.table, …`, or `-- @depends: none`",
        )


def _unrepeatable(name: str) -> str:
    return f"{name} gives another answer in another run; a model depends on its tables only: use a time from the data"
