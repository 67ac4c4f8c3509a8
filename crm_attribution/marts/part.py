"""An incremental model for some keys only: which keys, and a database in which what it reads holds these alone.

The rows of an incremental model (`@incremental` in its header) for a key follow from the rows of that key in what it
reads. So its own text, run where the tables that it follows hold the changed keys, gives its rows of these keys. The
database `part` has tables of the same names for that, before the others in the search path: those that are followed by
the key hold the rows of the keys, those that are followed through another table the rows that those lead to. Anything
else is a view of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import polars as pl

from crm_attribution.marts.discovery import SqlModel
from crm_attribution.marts.header import Follow
from crm_attribution.marts.place import PART, model_columns
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.identifiers import quote_identifier
from crm_attribution.warehouse.session import Session

KEYS = quote_identifier("temp", "main", "part_keys")
_SHARE = 10
"""Of the rows of a model, the part of them from which on as many keys cost more than the whole."""
_FEW = 1000


@dataclass(frozen=True)
class Part:
    """The keys of a model that may have changed.

    Attributes:
        model: the model.
        keys: a String column per column of the key, sorted.
    """

    model: SqlModel
    keys: pl.DataFrame

    @property
    def using(self) -> str:
        """The columns of the key, for USING."""
        return ", ".join(quote_identifier(name) for name in self.model.incremental)


def changed_keys(session: Session, model: SqlModel, changed: set[str], changes: Changes, rows: int) -> Part | None:
    """The keys that the changes of some tables lead to; None where that are too many to be worth it.

    Args:
        session: an open session.
        model: an incremental model.
        changed: tables that have changed since it ran, all of them followed.
        changes: of the topics it follows.
        rows: of the model.
    """
    found = [_lead(session, model, follow, changes) for follow in model.follows if follow.table in changed]
    none = pl.DataFrame(schema=dict.fromkeys(model.incremental, pl.String))
    keys = pl.concat([none, *found]).unique().sort(model.incremental)
    return None if keys.height > max(_FEW, rows // _SHARE) else Part(model, keys)


def _lead(session: Session, model: SqlModel, follow: Follow, changes: Changes) -> pl.DataFrame:
    """Keys that the changes of one table lead to."""
    told = sorted({tuple(key) for key in changes.keys.get(follow.topic, [])})
    if follow.column is None or follow.through is None:
        return pl.DataFrame(told, schema=dict.fromkeys(model.incremental, pl.String), orient="row")
    table, column = quote_identifier(*follow.through.split(".")), quote_identifier(follow.column)
    names = [quote_identifier(name) for name in model.incremental]
    return session.query(
        f"SELECT DISTINCT {', '.join(f'{name}::VARCHAR AS {name}' for name in names)} FROM {table}"
        f" WHERE {column}::VARCHAR IN (SELECT {column} FROM _told)"
        f" AND {' AND '.join(f'{name} IS NOT NULL' for name in names)}",
        _told=pl.DataFrame(told, schema={follow.column: pl.String}, orient="row"),
    )


@contextmanager
def opened(connection: duckdb.DuckDBPyConnection, part: Part) -> Iterator[None]:
    """Within, the database `part` holds what belongs to the keys, and `KEYS` the keys, typed as the model's columns."""
    types = dict(model_columns(connection, part.model))
    names = part.keys.columns
    typed = ", ".join(f"{quote_identifier(name)}::{types[name]} AS {quote_identifier(name)}" for name in names)
    sources = _sources(connection, part.model)
    connection.register("_part", part.keys)
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {KEYS} AS SELECT {typed} FROM _part")
        connection.execute(f"ATTACH OR REPLACE ':memory:' AS {PART}")
        _fill(connection, part, sources)
        yield
    finally:
        connection.execute(f"DETACH DATABASE IF EXISTS {PART}")
        connection.execute(f"DROP TABLE IF EXISTS {KEYS}")
        connection.unregister("_part")


@contextmanager
def reading(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Within, names of tables are those of the database `part`. Inside `opened`; nothing is written meanwhile."""
    ((path,),) = connection.execute("SELECT current_setting('search_path')").fetchall()
    connection.execute(f"SET search_path = '{PART}.main,{path.split(',')[0]}'")  # the first has the macros
    try:
        yield
    finally:
        connection.execute(f"SET search_path = '{path}'")


def read_written(connection: duckdb.DuckDBPyConnection, part: Part) -> None:
    """Let the tests read the model's own rows of the keys, as they are now. Inside `opened`."""
    _copy(connection, part, part.model.key, _sources(connection, part.model)[part.model.key])


def _sources(connection: duckdb.DuckDBPyConnection, model: SqlModel) -> dict[str, str]:
    """What the model and its tests read, but for views -> its place."""
    views = {view.key for view in model.through}
    read = {*model.depends, *model.views, *(name for test in model.tests for name in test.depends), model.key} - views
    found = connection.execute(
        "SELECT schema_name || '.' || table_name, database_name FROM duckdb_tables()"
        f" WHERE NOT internal AND NOT temporary AND database_name <> '{PART}'"
    ).fetchall()
    homes = dict(found)
    return {name: quote_identifier(homes[name], *name.split(".")) for name in sorted(read) if name in homes}


def _fill(connection: duckdb.DuckDBPyConnection, part: Part, sources: Mapping[str, str]) -> None:
    model = part.model
    for schema in sorted({name.split(".")[0] for name in (*sources, *(view.key for view in model.through))}):
        connection.execute(f"CREATE SCHEMA {quote_identifier(PART, schema)}")
    by_key = {follow.table for follow in model.follows if follow.through is None}
    for name in sorted(by_key & sources.keys()):
        _copy(connection, part, name, sources[name])
    for name, place in sources.items():
        if name in by_key or name == model.key:
            continue
        leads = [follow for follow in model.follows if follow.table == name]
        if leads and all(lead.through in by_key for lead in leads):
            where = " OR ".join(
                f"{quote_identifier(str(lead.column))} IN"
                f" (SELECT {quote_identifier(str(lead.column))} FROM {_of(str(lead.through))})"
                for lead in leads
            )
            connection.execute(f"CREATE TABLE {_of(name)} AS FROM {place} WHERE {where}")
        else:
            connection.execute(f"CREATE VIEW {_of(name)} AS FROM {place}")
    with reading(connection):
        for view in model.through:
            connection.execute(f"CREATE VIEW {_of(view.key)} AS {view.sql}")


def _copy(connection: duckdb.DuckDBPyConnection, part: Part, name: str, place: str) -> None:
    connection.execute(
        f"CREATE TABLE {_of(name)} AS FROM {place} WHERE rowid IN"
        f" (SELECT k.rowid FROM {place} k SEMI JOIN {KEYS} USING ({part.using}))"
    )


def _of(name: str) -> str:
    return quote_identifier(PART, *name.split("."))
