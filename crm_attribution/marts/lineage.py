"""Which columns each result column of a SQL model is computed from, by sqlglot."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope
from sqlglot.schema import MappingSchema

from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.dependencies import DIALECT, first_statement
from crm_attribution.warehouse.files import private_folder

Lineage = dict[str, set[tuple[str, str]]]


def column_lineage(sql: str, columns: Mapping[str, Sequence[str]]) -> Lineage:
    """Trace each result column of a SELECT to the columns of the tables it reads.

    Only what the value is computed from counts, through WITH queries, stars, aliases, unions and scalar subqueries:
    columns that merely filter, join, group or sort the rows do not. Whole rows (`SELECT t FROM t`) and COLUMNS() are
    not traced.

    Args:
        sql: one SELECT that `DependencyReader.read` accepts.
        columns: the columns of each table it reads, by `schema.table`; needed to resolve stars and bare names.

    Returns:
        By result column: (`schema.table`, column) pairs; empty for constants and `count(*)`.

    Raises:
        ConfigurationError: when sqlglot cannot resolve the query.
    """
    try:
        return _traced(sql, columns)
    except SqlglotError as error:
        raise ConfigurationError(f"columns cannot be traced: {str(error).splitlines()[0]}") from error


class Traced:
    """Lineage that was traced before, in a file: tracing all models takes half a second, of every hour.

    The file may be deleted at any time; one that cannot be read is written anew.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._new = file, False
        try:
            self._known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def lineage(self, model: str, sql: str, columns: Mapping[str, Sequence[str]]) -> Lineage:
        """As `column_lineage`, of the model of that name."""
        asked = json.dumps([version("sqlglot"), sql, columns], sort_keys=True)
        of = hashlib.sha256(asked.encode()).hexdigest()
        known = self._known.get(model, {})
        if known.get("of") != of:
            found = column_lineage(sql, columns)
            known = {"of": of, "columns": {name: sorted(sources) for name, sources in found.items()}}
            self._known[model], self._new = known, True
        return {name: {(table, column) for table, column in sources} for name, sources in known["columns"].items()}

    def keep(self) -> None:
        """Write what was traced anew."""
        if self._new:
            half = self._file.with_suffix(f".{os.getpid()}.tmp")
            private_folder(half.parent)
            half.write_text(json.dumps(self._known), encoding="utf-8")
            half.replace(self._file)
            self._new = False


def _traced(sql: str, columns: Mapping[str, Sequence[str]]) -> Lineage:
    schema = MappingSchema(dialect=DIALECT)
    for table, names in columns.items():
        schema.add_table(table, dict.fromkeys(names, "unknown"))
    tree = qualify(first_statement(sql), dialect=DIALECT, schema=schema, validate_qualify_columns=False, identify=False)
    for union in list(tree.find_all(exp.SetOperation)):
        _by_position(union)
    tables = {table.alias_or_name: table for table in tree.find_all(exp.Table) if table.db}
    roots = lineage(None, tree, schema, dialect=DIALECT, scope=build_scope(tree), trim_selects=False, copy=False)
    return {name: set(_sources(root, tables)) for name, root in roots.items()}


def _by_position(union: exp.SetOperation) -> None:
    """Put the right side of a UNION BY NAME in the order of the left one, because lineage matches by position."""
    left, right = union.left.unnest(), union.right.unnest()
    if not union.args.get("by_name") or not (isinstance(left, exp.Select) and isinstance(right, exp.Select)):
        return
    given = {side: {select.alias_or_name: select for select in side.selects} for side in (left, right)}
    names = list(given[left] | given[right])
    for side, selects in given.items():
        side.set("expressions", [selects.get(name) or exp.alias_(exp.null(), name) for name in names])


def _sources(root: Node, tables: Mapping[str, exp.Table]) -> Iterator[tuple[str, str]]:
    """The table columns at the end of a trace. Within LATERAL and recursion only the alias names the table."""
    for node in root.walk():
        if node.downstream or not isinstance(node.expression, exp.Table | exp.Placeholder):
            continue
        column = exp.to_column(node.name, dialect=DIALECT)
        alias = column.table if isinstance(column, exp.Column) else ""
        table = node.expression if isinstance(node.expression, exp.Table) else tables.get(alias)
        if table is not None:
            yield f"{table.db}.{table.name}", column.name
