"""SQL files as tables: `dbt_like_sql/<schema>/<name>.sql` is the table `<schema>.<name>`.

A file is a header and one SELECT:

    -- One row per day and channel: how many reached each step. (first paragraph: the table's description)
    --
    -- Further paragraphs are notes for whoever edits the file.
    --
    -- @column funnel_date [not_null]: the day, in the account's time zone
    -- @column channel [not_null] [in paid, organic, direct]: where the touch came from;
    --   a description continues in lines indented by two spaces or more
    -- @column outcomes [not_null] [>= 0] [<= 1000000]: how many reached the step
    -- @unique: funnel_date, channel
    -- @depends: staging.deal, attribution.credit
    -- @audience: finance, marketing
    SELECT …

* Every result column has a `@column` line, in the order of the SELECT; both texts become comments in the database.
* Rules: `[not_null]`, `[unique]`, `[in a, b]`, `[>= n]`, `[> n]`, `[<= n]`, `[< n]`. All but not_null let null pass.
  `@unique` is the grain of the table: there two nulls are equal. Each rule becomes a test.
* `@depends` is needed only where the query calls a macro of yours, which hides its tables (`@depends: none` if it has
  none). Those of `warehouse/macros.py` have none: `withheld(text)` leaves out what looks like an e-mail address.
  `@audience` names the teams whose figures these are: Dagster shows them as owners.
  Everything else is read from the query's text: tables are schema-qualified, other names are WITH queries.
* `@materialized: view` (staging only): no rows are stored, readers run the query. Its tests run once a day: what it
  reads has checks of its own.
* `@incremental: column, column` names a key: the table's rows of a key follow from the rows of that key in what the
  query reads. `@follows: schema.table` names such a table, which has the columns of the key, and of whose changed keys
  the journal tells; `@follows: schema.table by column in schema.table` one whose rows matter only through another of
  them, by a column that both have. The query then runs for the keys that changed (`marts/part.py`), but in full in the
  first hour of a day, and when anything else that it reads changes. Rules of the header are asked of these keys, and a
  data test whose own comment has `@incremental`: what it finds of a key follows from the rows of that key.
* `<name>.test.sql` or `<name>.<what>.test.sql` is a data test: one SELECT that returns the bad rows. Its leading
  comment describes what must hold. Tests are named `check`, `<what>`, `<column>_not_null`, `unique_<column>_<column>` …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import duckdb

from crm_attribution.errors import CommitLost, ContractViolation
from crm_attribution.marts.discovery import SqlModel, SqlTest, discover, order
from crm_attribution.marts.errors import run
from crm_attribution.marts.header import SqlColumn
from crm_attribution.marts.part import KEYS, Part, reading
from crm_attribution.marts.place import Columns, check_columns, columns_of, home_of, kind_of, write_comments
from crm_attribution.warehouse.engine import interrupted
from crm_attribution.warehouse.identifiers import quote_identifier
from crm_attribution.warehouse.session import NOT_KEPT

__all__ = [
    "ModelResult",
    "SqlColumn",
    "SqlModel",
    "SqlTest",
    "TestResult",
    "discover",
    "materialize",
    "order",
    "run_test",
    "run_tests",
]

_SHAPE = quote_identifier("temp", "main", "model_shape")
_RESULT = quote_identifier("temp", "main", "model_result")
_CHANGES = quote_identifier("temp", "main", "model_changes")
_BAD_ROWS = quote_identifier("temp", "main", "test_bad_rows")
_COPIES = quote_identifier("row copies")


@dataclass(frozen=True)
class ModelResult:
    """What a materialization did. `created`: the table was missing or had other columns. A view changes no rows.
    `keys`: of how many keys it was, of an incremental model; None where of all."""

    model: str
    rows: int
    inserted: int
    deleted: int
    created: bool
    columns: tuple[tuple[str, str], ...]
    keys: int | None = None

    @property
    def changed_rows(self) -> int:
        return self.inserted + self.deleted


@dataclass(frozen=True)
class TestResult:
    """Zero bad rows is a pass."""

    __test__ = False  # not a pytest class

    test: SqlTest
    bad_rows: int
    sample: list[dict[str, Any]]

    @property
    def passed(self) -> bool:
        return self.bad_rows == 0


def _nothing() -> None:
    pass


def materialize(
    connection: duckdb.DuckDBPyConnection, model: SqlModel, before_writing: Callable[[], None] = _nothing
) -> ModelResult:
    """Run the whole query and write only the rows in which its result differs from the table.

    The connection must not be inside a transaction. The rows are written in one transaction; where nothing differs
    nothing is written. `before_writing` is called where something does.

    Raises:
        ContractViolation: when the result's columns are not the documented ones.
        ConfigurationError: when DuckDB does not accept the query or the schema does not exist.
        Terminal: when the query fails on its data.
    """
    home = home_of(connection, model)
    table = quote_identifier(home, model.schema, model.name)
    if model.view:
        return _view(connection, model, home, before_writing)
    try:
        run(connection, f"CREATE OR REPLACE TEMP TABLE {_RESULT} AS {model.sql}", model.path)
        columns = columns_of(connection, "temp", "main", "model_result")
        check_columns(model, columns)
        if model.schema == "marts":
            columns = _without_zones(connection, columns)
        rows = _number(connection, f"SELECT count(*) FROM {_RESULT}")
        was_view = kind_of(connection, home, model) == "view"
        existing = [] if was_view else columns_of(connection, home, model.schema, model.name)
        created = existing != columns
        if created:
            deleted = _number(connection, f"SELECT count(*) FROM {table}") if existing else 0
            inserted = rows
            before_writing()
            if was_view:
                connection.execute(f"DROP VIEW {table}")
            run(connection, f"CREATE OR REPLACE TABLE {table} AS FROM {_RESULT}", model.path)
        else:
            inserted, deleted = _write_changes(connection, table, [name for name, _ in columns], before_writing)
    finally:
        _drop(connection, _RESULT, _CHANGES)
    write_comments(connection, model, home)
    return ModelResult(model.key, rows, inserted, deleted, created, tuple(columns))


def materialize_part(
    connection: duckdb.DuckDBPyConnection, part: Part, before_writing: Callable[[], None] = _nothing
) -> ModelResult:
    """As `materialize`, for the rows of some keys: the table is there as its text wants it. Inside
    `part.opened`."""
    model = part.model
    home = home_of(connection, model)
    table = quote_identifier(home, model.schema, model.name)
    among = f" SEMI JOIN {KEYS} USING ({part.using})"
    try:
        with reading(connection):
            run(connection, f"CREATE OR REPLACE TEMP TABLE {_RESULT} AS {model.sql}", model.path)
        columns = columns_of(connection, "temp", "main", "model_result")
        if model.schema == "marts":
            columns = _without_zones(connection, columns)
        connection.execute(f"DELETE FROM {_RESULT} WHERE rowid NOT IN (SELECT rowid FROM {_RESULT}{among})")
        inserted, deleted = _write_changes(connection, table, [name for name, _ in columns], before_writing, among)
    finally:
        _drop(connection, _RESULT, _CHANGES)
    rows = _number(connection, f"SELECT count(*) FROM {table}")
    return ModelResult(model.key, rows, inserted, deleted, False, tuple(columns), part.keys.height)


def _view(
    connection: duckdb.DuckDBPyConnection, model: SqlModel, home: str, before_writing: Callable[[], None]
) -> ModelResult:
    """Make the view anew, also in place of a table of before."""
    place = quote_identifier(home, model.schema, model.name)
    try:
        run(connection, f"CREATE OR REPLACE TEMP VIEW {_SHAPE} AS {model.sql}", model.path)
        columns = columns_of(connection, "temp", "main", "model_shape")
        check_columns(model, columns)
        before_writing()
        kind = kind_of(connection, home, model)
        connection.execute("BEGIN")
        try:
            if kind == "table":
                connection.execute(f"DROP TABLE {place}")
            connection.execute(f"CREATE OR REPLACE VIEW {place} AS {model.sql}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    finally:
        connection.execute(f"DROP VIEW IF EXISTS {_SHAPE}")
    write_comments(connection, model, home)
    rows = _number(connection, f"SELECT count(*) FROM {place}")
    return ModelResult(model.key, rows, 0, 0, kind != "view", tuple(columns))


def run_test(connection: duckdb.DuckDBPyConnection, test: SqlTest, limit: int = 20) -> TestResult:
    """Count the rows a test returns and show the first of them."""
    if not run(connection, test.sql, test.path, most=1):
        return TestResult(test, 0, [])
    try:
        run(connection, f"CREATE OR REPLACE TEMP TABLE {_BAD_ROWS} AS {test.sql}", test.path)
        bad_rows = _number(connection, f"SELECT count(*) FROM {_BAD_ROWS}")
        sample = connection.sql(f"FROM {_BAD_ROWS} LIMIT {int(limit)}").pl().to_dicts()
    finally:
        _drop(connection, _BAD_ROWS)
    return TestResult(test, bad_rows, sample)


def run_tests(connection: duckdb.DuckDBPyConnection, tests: Sequence[SqlTest], limit: int = 20) -> list[TestResult]:
    """As `run_test` for each, in their order; the conditions of a model's rows are counted in one scan."""
    return [
        result
        for model, of_model in groupby(tests, key=lambda test: test.model)
        for result in _of_one_model(connection, model, list(of_model), limit)
    ]


def _of_one_model(
    connection: duckdb.DuckDBPyConnection, model: str, tests: list[SqlTest], limit: int
) -> list[TestResult]:
    conditions = [test for test in tests if test.bad is not None]
    counts = ", ".join(f"count(*) FILTER (WHERE {test.bad})" for test in conditions)
    table = quote_identifier(*model.split("."))
    passed: set[str] = set()
    if conditions:
        try:
            ((*found,),) = connection.execute(f"SELECT {counts} FROM {table}").fetchall()
            passed = {test.name for test, bad_rows in zip(conditions, found, strict=True) if not bad_rows}
        except duckdb.Error as error:  # each for itself then, so that the error names its file
            if interrupted(error):
                raise
    return [TestResult(test, 0, []) if test.name in passed else run_test(connection, test, limit) for test in tests]


def _without_zones(connection: duckdb.DuckDBPyConnection, columns: Columns) -> Columns:
    """Timestamps of the result as plain ones in UTC, and the new columns: DuckDB's Python client fetches those with a
    zone only where pytz is installed (https://duckdb.org/docs/stable/clients/python/conversion)."""
    for name, data_type in columns:
        if data_type == "TIMESTAMP WITH TIME ZONE":
            column = quote_identifier(name)
            connection.execute(
                f"ALTER TABLE {_RESULT} ALTER {column} SET DATA TYPE TIMESTAMP USING {column} AT TIME ZONE 'UTC'"
            )
    return columns_of(connection, "temp", "main", "model_result")


def _write_changes(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    names: Sequence[str],
    before_writing: Callable[[], None],
    among: str = "",
) -> tuple[int, int]:
    """Make `table` hold the rows of the result, as often as the result holds them: rows inserted and deleted. `among`
    restricts it to a part of the table."""
    columns = ", ".join(quote_identifier(name) for name in names)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {_CHANGES} AS"
        f" SELECT {columns}, sum({_COPIES})::BIGINT AS {_COPIES} FROM"
        f" (SELECT {columns}, 1 AS {_COPIES} FROM {_RESULT} UNION ALL SELECT {columns}, -1 FROM {table}{among})"
        f" GROUP BY {columns} HAVING sum({_COPIES}) <> 0"
    )
    ((inserted, deleted),) = connection.execute(
        f"SELECT coalesce(sum({_COPIES}) FILTER (WHERE {_COPIES} > 0), 0)::BIGINT,"
        f" coalesce(-sum({_COPIES}) FILTER (WHERE {_COPIES} < 0), 0)::BIGINT FROM {_CHANGES}"
    ).fetchall()
    if not inserted and not deleted:
        return 0, 0
    before_writing()
    same = " AND ".join(f"old.{quote_identifier(n)} IS NOT DISTINCT FROM gone.{quote_identifier(n)}" for n in names)
    surplus = (
        f"SELECT old.place FROM (SELECT rowid AS place, {columns} FROM {table}{among}) AS old"
        f" JOIN {_CHANGES} AS gone ON gone.{_COPIES} < 0 AND {same}"
        f" QUALIFY row_number() OVER (PARTITION BY gone.rowid ORDER BY old.place) <= -gone.{_COPIES}"
    )
    connection.execute("BEGIN")
    try:
        if deleted and _number(connection, f"DELETE FROM {table} WHERE rowid IN ({surplus})") != deleted:
            raise ContractViolation(f"{table}: rows that differ were not found again; nothing was written")
        if inserted:
            connection.execute(
                f"INSERT INTO {table} SELECT {columns} FROM"
                f" (SELECT *, unnest(range({_COPIES})) FROM {_CHANGES} WHERE {_COPIES} > 0)"
            ).fetchall()
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    _prove(connection, table, among, columns, same)
    return inserted, deleted


def _prove(connection: duckdb.DuckDBPyConnection, table: str, among: str, columns: str, same: str) -> None:
    """A commit that kept nothing returns without an error: read one of the changed rows back. (The marts file holds
    marts only, so there is no place for a marker.)"""
    gone = f"(SELECT {columns}, 1 AS {_COPIES} FROM {_CHANGES} LIMIT 1) AS gone"
    stored, wanted = (
        _number(connection, f"SELECT count(*) FROM (SELECT {columns} FROM {rows}) AS old JOIN {gone} ON {same}")
        for rows in (f"{table}{among}", _RESULT)
    )
    if stored != wanted:
        raise CommitLost(f"{table}: {NOT_KEPT}")


def _number(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    ((number,),) = connection.execute(sql).fetchall()
    return int(number)


def _drop(connection: duckdb.DuckDBPyConnection, *tables: str) -> None:
    for table in tables:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
