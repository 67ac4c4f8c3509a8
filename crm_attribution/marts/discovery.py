"""Find the model files and read their headers. The syntax is described in `marts/models.py`."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.dependencies import DependencyReader
from crm_attribution.marts.follows import resolve
from crm_attribution.marts.header import Follow, Header, SqlColumn, parse_header
from crm_attribution.warehouse.identifiers import quote_identifier, quote_literal

_PART = re.compile(r"[a-z][a-z0-9_]*")
_BOUND_NAMES = {">=": "at_least", ">": "above", "<=": "at_most", "<": "below"}
_COPIES = quote_identifier("row copies")


@dataclass(frozen=True)
class SqlTest:
    """A query that returns the rows which break a rule of `model` (`schema.name`).

    `bad` is the condition of a bad row, where the query is nothing but that: such tests share one scan of the table.
    `by_key` says that what it finds of a key follows from the rows of that key alone (`SqlModel.incremental`).
    """

    name: str
    sql: str
    path: Path
    model: str
    description: str
    depends: tuple[str, ...] = ()
    bad: str | None = None
    by_key: bool = False


@dataclass(frozen=True)
class SqlModel:
    """One file: the table it fills and what is promised about it.

    Attributes:
        depends: the tables its query reads.
        view: it is a view and holds no rows of its own.
        views: what stands behind the views that the model or its tests read: the tables of their queries.
        through: these views, each after those that it reads.
        incremental: columns of the key by which it is brought up to date: its rows of a key follow from the rows of
            that key in what it reads. Empty where it is always run in full.
        follows: the tables whose changes lead to keys; a change of any other table runs it in full.
    """

    schema: str
    name: str
    path: Path
    sql: str
    description: str
    columns: tuple[SqlColumn, ...]
    tests: tuple[SqlTest, ...]
    depends: tuple[str, ...]
    audience: tuple[str, ...] = ()
    view: bool = False
    views: tuple[str, ...] = ()
    through: tuple[SqlModel, ...] = ()
    incremental: tuple[str, ...] = ()
    follows: tuple[Follow, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.schema}.{self.name}"


def discover(root: Path) -> list[SqlModel]:
    """Read every model and test below `root`, sorted by key.

    Raises:
        ConfigurationError: naming the file, the line where known, and the fix.
    """
    if not root.is_dir():
        raise ConfigurationError(f"{root} is not a folder; SQL models are expected in {root}/<schema>/<name>.sql")
    files = sorted(root.rglob("*.sql"))
    with DependencyReader() as reader:
        tests: dict[str, list[SqlTest]] = {}
        for path in (path for path in files if path.name.endswith(".test.sql")):
            test = _read_test(root, path, reader)
            tests.setdefault(test.model, []).append(test)
        paths = [path for path in files if not path.name.endswith(".test.sql")]
        models = [_read_model(root, path, reader, tests) for path in paths]
    for orphan in (test for found in tests.values() for test in found):
        raise ConfigurationError(f"{orphan.path}: tests {orphan.model}, which has no file; rename the test or add it")
    by_key = {model.key: model for model in models}
    return [_linked(model, by_key) for _, model in sorted(by_key.items())]


def order(models: Sequence[SqlModel]) -> list[SqlModel]:
    """Sort the models so that each comes after those that it or one of its tests reads; ties by key.

    Raises:
        ConfigurationError: when models read each other in a circle; the message shows the circle.
    """
    by_key = {model.key: model for model in models}
    graph = {key: sorted(_read_by(model) & by_key.keys()) for key, model in sorted(by_key.items())}
    sorter = graphlib.TopologicalSorter(graph)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = list(reversed(error.args[1]))
        files = ", ".join(str(by_key[key].path) for key in dict.fromkeys(circle))
        raise ConfigurationError(
            f"SQL models read each other in a circle: {' reads '.join(circle)} ({files}); break it in one of them"
        ) from None
    ordered: list[SqlModel] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered.extend(by_key[key] for key in ready)
        sorter.done(*ready)
    return ordered


def _linked(model: SqlModel, models: Mapping[str, SqlModel]) -> SqlModel:
    """With what stands behind the views it reads, and the topics it follows."""
    through = _views(_read_by(model), models)
    behind = sorted({name for view in through for name in view.depends})
    keys = {name: other.incremental for name, other in models.items()}
    header = Header("", model.columns, (), None, view=model.view, incremental=model.incremental, follows=model.follows)
    follows = resolve(header, model.path, _read_by(model) | {*behind}, keys)
    return replace(model, views=tuple(behind), through=tuple(through), follows=follows)


def _views(names: set[str], models: Mapping[str, SqlModel]) -> list[SqlModel]:
    """The views among the tables, each after those that it reads."""
    found: list[SqlModel] = []
    for name in sorted(names):
        if name in models and models[name].view:
            before = _views({*models[name].depends}, models)
            found += [view for view in (*before, models[name]) if view not in found]
    return found


def _read_by(model: SqlModel) -> set[str]:
    """The tables that a model or one of its tests reads, without its own: its tests run right after it."""
    return {*model.depends, *(name for test in model.tests for name in test.depends)} - {model.key}


def _key(root: Path, path: Path, name: str) -> tuple[str, str]:
    """Schema and table of a file. The path is the key, so it must have exactly two plain parts."""
    parts = path.relative_to(root).parts
    if len(parts) != 2 or not _PART.fullmatch(parts[0]) or not _PART.fullmatch(name):
        raise ConfigurationError(
            f"{path}: a model is {root}/<schema>/<name>.sql in lower case (a-z, 0-9, _); its tests are"
            " <name>.test.sql or <name>.<what>.test.sql in the same folder"
        )
    return parts[0], name


def _read_test(root: Path, path: Path, reader: DependencyReader) -> SqlTest:
    name, _, what = path.name.removesuffix(".test.sql").partition(".")
    schema, name = _key(root, path, name)
    if what and not _PART.fullmatch(what):
        raise ConfigurationError(f"{path}: the part before .test.sql must be a lower-case word (a-z, 0-9, _)")
    sql = path.read_text(encoding="utf-8")
    header = parse_header(sql, path)
    if not header.description:
        raise ConfigurationError(f"{path}: describe in a first `--` line what must hold")
    if header.columns or header.unique or header.audience or header.view or header.follows:
        raise ConfigurationError(
            f"{path}: @column, @unique, @audience, @materialized and @follows belong to the model's file, not to a test"
        )
    depends = reader.read(sql, path, macros_declared=header.depends is not None) | set(header.depends or ())
    return SqlTest(
        what or "check",
        sql,
        path,
        f"{schema}.{name}",
        header.description,
        tuple(sorted(depends)),
        by_key=bool(header.incremental),
    )


def _read_model(root: Path, path: Path, reader: DependencyReader, own: dict[str, list[SqlTest]]) -> SqlModel:
    schema, name = _key(root, path, path.name.removesuffix(".sql"))
    key = f"{schema}.{name}"
    sql = path.read_text(encoding="utf-8")
    header = parse_header(sql, path)
    if not header.description:
        raise ConfigurationError(f"{path}: begin with `--` lines that describe one row of the table")
    if not header.columns:
        raise ConfigurationError(f"{path}: document each result column as `-- @column name: description`")
    depends = reader.read(sql, path, macros_declared=header.depends is not None) | set(header.depends or ())
    if key in depends:
        raise ConfigurationError(f"{path}: reads {key}, the table it fills; select from what it is made of")
    tests = [*_rule_tests(schema, name, path, header), *own.pop(key, [])]
    if header.view and schema == "marts":
        raise ConfigurationError(f"{path}: a mart is published with its rows; leave `@materialized: view` out")
    names = [test.name for test in tests]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"{path}: has two tests named {', '.join(twice)}; drop one")
    return SqlModel(
        schema,
        name,
        path,
        sql,
        header.description,
        header.columns,
        tests=tuple(tests),
        depends=tuple(sorted(depends)),
        audience=header.audience,
        view=header.view,
        incremental=header.incremental,
        follows=header.follows,
    )


def _rule_tests(schema: str, name: str, path: Path, header: Header) -> list[SqlTest]:
    """The rules of the header as queries."""
    table, key = quote_identifier(schema, name), f"{schema}.{name}"
    tests: list[SqlTest] = []

    def add(test: str, sql: str, description: str, bad: str | None = None, grain: Sequence[str] = ()) -> None:
        by_key = bad is not None or {*header.incremental} <= {*grain}
        tests.append(SqlTest(test, sql, path, key, description, (key,), bad, by_key))

    def add_condition(test: str, bad: str, description: str) -> None:
        add(test, f"SELECT * FROM {table} WHERE {bad}", description, bad)

    for column in header.columns:
        quoted = quote_identifier(column.name)
        if column.not_null:
            add_condition(f"{column.name}_not_null", f"{quoted} IS NULL", f"{column.name} is never null")
        if column.unique:
            sql = f"SELECT {quoted}, count(*) AS {_COPIES} FROM {table} GROUP BY ALL HAVING count({quoted}) > 1"
            add(f"{column.name}_unique", sql, f"{column.name} is unique", grain=[column.name])
        if column.allowed:
            values = ", ".join(quote_literal(value) for value in column.allowed)
            described = f"{column.name} is one of {', '.join(column.allowed)}"
            add_condition(f"{column.name}_in", f"{quoted}::VARCHAR NOT IN ({values})", described)
        for operator, number in column.bounds:
            described = f"{column.name} {operator} {number}"
            add_condition(f"{column.name}_{_BOUND_NAMES[operator]}", f"NOT ({quoted} {operator} {number})", described)
    for names in header.unique:
        grain = ", ".join(quote_identifier(column) for column in names)
        sql = f"SELECT {grain}, count(*) AS {_COPIES} FROM {table} GROUP BY ALL HAVING count(*) > 1"
        add(f"unique_{'_'.join(names)}", sql, f"one row per {', '.join(names)}", grain=names)
    return tests
