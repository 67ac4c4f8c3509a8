"""Which tables a SQL file reads: DuckDB's parser checks that it is one SELECT, sqlglot finds the tables in it.

Both work on the text alone, so the tables need not exist yet. Refused, with line and fix, is a query whose tables the
text does not show (macros, files, dynamic names) or whose answer depends on when it runs (clock, chance).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import duckdb
from sqlglot import exp, parse
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.scope import traverse_scope

from crm_attribution.errors import ConfigurationError
from crm_attribution.warehouse.engine import open_reader
from crm_attribution.warehouse.macros import MACROS

DIALECT = "duckdb"
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}
_FILE_FORMATS = {"csv", "tsv", "json", "jsonl", "ndjson", "parquet", "gz", "zst", "xlsx", "db", "duckdb"}
_SYNTAX = {"coalesce", "columns", "grouping", "grouping_id", "ifnull", "try", "unpack"} | {
    "percentile_cont",
    "percentile_disc",
}
"""Written like functions, but part of DuckDB's grammar: its list of functions does not have them."""
_UNREPEATABLE = (
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
    | {"now", "today", "ago", "clock_timestamp", "statement_timestamp", "transaction_timestamp"}
    | {"get_current_time", "get_current_timestamp", "current_localtime", "current_localtimestamp"}
    | {"random", "setseed", "uuid", "uuidv4", "uuidv7", "gen_random_uuid"}
    | {"nextval", "currval", "getvariable", "txid_current"}
)
_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


class DependencyReader:
    """Reads the tables of many queries with one in-memory DuckDB connection."""

    def __init__(self) -> None:
        self._connection = open_reader()
        names = self._connection.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
        self._builtins = frozenset(name for (name,) in names) | _SYNTAX | MACROS.keys()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> DependencyReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, sql: str, path: Path, *, macros_declared: bool = False) -> frozenset[str]:
        """Return the `schema.table` names that a single SELECT reads.

        Args:
            sql: the whole text of the file, so that lines are those of the file.
            path: the file, for messages.
            macros_declared: whether the header of the file names the tables behind its macros (`@depends`).

        Raises:
            ConfigurationError: when the text is not one SELECT with tables it shows; names file, line and fix.
        """
        self._check_syntax(sql, path)
        query = _Query(sql, path, self._builtins, macros_declared)
        tree = query.parse()
        query.check_statements(tree)
        query.check_functions(tree)
        return frozenset(query.tables(tree))

    def _check_syntax(self, sql: str, path: Path) -> None:
        """Raise unless DuckDB's parser finds one SELECT; in DuckDB's words, with the line."""
        try:
            kinds = [statement.type for statement in self._connection.extract_statements(sql)]
        except duckdb.ParserException as error:
            line = _LINE.search(str(error))
            reason = str(error).removeprefix("Parser Error: ").splitlines()[0]
            raise ConfigurationError(f"{path}{f':{line[1]}' if line else ''}: {reason}") from None
        if any(kind != duckdb.StatementType.SELECT for kind in kinds):
            raise ConfigurationError(
                f"{path}: only plain SELECT statements are read; write PIVOT as `sum(x) FILTER (WHERE …)` columns or"
                " `FROM t PIVOT (… FOR c IN (…))`, and take SET, PRAGMA, CREATE and the like out of the file"
            )
        if len(kinds) != 1:
            raise ConfigurationError(f"{path}: holds {len(kinds)} statements; keep exactly one SELECT")


def first_statement(sql: str) -> exp.Expr:
    """The syntax tree of a text of one statement; what may follow its semicolon is comment."""
    tree = parse(sql, dialect=DIALECT)[0]
    if tree is None:
        raise SqlglotError("no statement")
    return tree


@dataclass(frozen=True)
class _Query:
    """One text on its way to its tables."""

    sql: str
    path: Path
    builtins: frozenset[str]
    macros_declared: bool

    def parse(self) -> exp.Expr:
        try:
            return normalize_identifiers(first_statement(self.sql), dialect=DIALECT)
        except SqlglotError as error:
            detail = str(error).splitlines()[0]
            raise ConfigurationError(
                f"{self.path}: DuckDB accepts this text but the reader of dependencies (sqlglot) does not: {detail};"
                " write that part in a plainer way"
            ) from None

    def refuse(self, node: exp.Expr, why: str) -> ConfigurationError:
        lines = (part.meta["line"] for part in node.walk() if "line" in part.meta)
        line = next(lines, None)
        return ConfigurationError(f"{self.path}{'' if line is None else f':{line}'}: {why}")

    def check_statements(self, tree: exp.Expr) -> None:
        """Only SELECT, without parameters, also inside WITH."""
        if not isinstance(tree, exp.Query | exp.Values):
            raise self.refuse(tree, f"{tree.key.upper()} reads the catalog; select from tables instead")
        for node in tree.find_all(exp.DML, exp.DDL, exp.Placeholder, exp.Parameter):
            if isinstance(node, exp.Placeholder | exp.Parameter):
                raise self.refuse(node, "a parameter ($1, ?) has no value here; write the value")
            if not isinstance(node, exp.Query):
                raise self.refuse(node, "only SELECT is allowed, also inside WITH")

    def check_functions(self, tree: exp.Expr) -> None:
        """No macro that hides its tables, no table function but a few, nothing that differs from run to run."""
        for node in tree.find_all(exp.Func):
            name = self._written(node)
            if name in _UNREPEATABLE:
                why = (
                    "gives another answer in another run; a model depends on its tables only: use a time from the data"
                )
                raise self.refuse(node, f"{name} {why}")
            if "start" not in node.meta:
                continue
            if name not in self.builtins:
                if not self.macros_declared:
                    raise self.refuse(
                        node,
                        f"{name}() is no built-in function and a macro hides its tables; name them in the header as"
                        " `-- @depends: schema.table, …`, or `-- @depends: none`",
                    )
            elif isinstance(node.parent, exp.Table) and node.arg_key == "this" and name not in _TABLE_FUNCTIONS:
                why = f"reads files, the catalog or dynamic names; use schema.table or {sorted(_TABLE_FUNCTIONS)}"
                raise self.refuse(node, f"{name}() {why}")

    def _written(self, function: exp.Func) -> str:
        """The name in the text. sqlglot keeps its place, but translates many names into its own."""
        if "start" in function.meta:
            name = self.sql[function.meta["start"] : function.meta["end"] + 1]
        else:
            name = function.sql_name()
        return name.strip('"').lower()

    def tables(self, tree: exp.Expr) -> set[str]:
        """Every table that is no WITH query in scope."""
        queries = {
            id(table)
            for scope in traverse_scope(tree)
            for table in scope.tables
            if table.db in ("", "recurring") and table.name in scope.cte_sources
        }
        tables = (table for table in tree.find_all(exp.Table) if not isinstance(table.this, exp.Func))
        return {self._checked(table) for table in tables if id(table) not in queries}

    def _checked(self, table: exp.Table) -> str:
        schema, name = table.db, table.name
        if not schema:
            raise self.refuse(table, f"{name} is neither schema.table nor a WITH query in scope; write its schema")
        if table.catalog:
            raise self.refuse(table, f"{table.catalog}.{schema}.{name} names a database; write {schema}.{name}")
        if schema in {"information_schema", "pg_catalog"}:
            raise self.refuse(table, f"{schema}.{name} is the catalog; select from tables instead")
        if name in _FILE_FORMATS:
            raise self.refuse(table, f"{schema}.{name} would be read as a file; load files into raw")
        if not (_PLAIN.fullmatch(schema) and _PLAIN.fullmatch(name)):
            raise self.refuse(table, f"{schema}.{name} is not a plain schema.table name")
        return f"{schema}.{name}"
