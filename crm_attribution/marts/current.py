"""Which models hold already what their inputs give, and need not run.

A model is a function of its tables (`marts/dependencies.py` refuses clocks, chance and files), so it stays right while
its text and the versions of those tables stay (`warehouse/versions.py`). The decision is kept in the warehouse, in
`meta.model`: it goes back with a snapshot that is restored, and a crash at any point leaves the model to run again.
An incremental model is run for the keys to which the journal's changes lead (`marts/part.py`), where it follows all
that has changed and the journal told all of it. Once a day, by the hours that runs stand for, every model and its tests
run all the same, in full. A view holds no rows: it is made, and its tests run, once a day and when its text changes;
whoever reads it stands on the tables behind it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from crm_attribution.clock import iso, parse_instant
from crm_attribution.contracts import CONTRACTS
from crm_attribution.contracts.topics import OF_MODELS
from crm_attribution.marts.models import ModelResult, SqlModel, TestResult, materialize, materialize_part, run_tests
from crm_attribution.marts.part import Part, changed_keys, opened, read_written, reading
from crm_attribution.marts.place import Columns, columns_of_all
from crm_attribution.warehouse.changes import OF_A_MODEL, Changes
from crm_attribution.warehouse.identifiers import quote_identifier
from crm_attribution.warehouse.macros import MACROS
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.versions import UNTOLD, count_change, versions


@dataclass(frozen=True)
class Standing:
    """What a model is since it ran last: `ran` is the end of the newest hour then. Rows of a view are as of then."""

    ran: datetime
    rows: int


class Models:
    """The models of a warehouse that is open, as of the end of its newest hour; nothing else writes meanwhile."""

    def __init__(self, session: Session, as_of: datetime) -> None:
        self._session, self._as_of = session, as_of
        self._versions: dict[str, int] | None = None  # of the tables, until a model runs; likewise their columns
        self._columns: dict[str, Columns] | None = None

    def standing(self, model: SqlModel) -> Standing | None:
        """Since when the table holds what its inputs give and its tests pass; None where it has to run."""
        found = self._session.connection.execute(
            "SELECT ran, rows FROM meta.model WHERE name = ? AND signature = ? AND inputs = ?",
            [model.key, signature(model), self._inputs(model)],
        ).fetchall()
        if len(found) != 1 or any(name.startswith("meta.") for name in _reads(model)):
            return None
        ran, rows = found[0][0], int(found[0][1])
        if not self._of_today(ran) or not self._is_there(model, rows):
            return None
        return Standing(parse_instant(ran), rows)

    def _of_today(self, ran: str) -> bool:
        return parse_instant(ran).date() == self._as_of.astimezone(UTC).date()

    def columns(self, model: SqlModel) -> Columns:
        """Names and types of its table as it is; empty when there is none."""
        if self._columns is None:
            self._columns = columns_of_all(self._session.connection)
        return self._columns.get(model.key, [])

    def build(self, model: SqlModel) -> tuple[ModelResult, list[TestResult]]:
        """Materialize it and run its tests; an incremental one for the keys that may have changed, if told."""
        part = self._part(model)
        if part is None:
            return self.run(model), run_tests(self._session.connection, model.tests)
        connection = self._session.connection
        self._forget(model)
        try:
            with opened(connection, part):
                done = materialize_part(connection, part, lambda: self._tell(model, part))
                read_written(connection, part)
                with reading(connection):
                    tested = run_tests(connection, [test for test in model.tests if test.by_key])
            tested += run_tests(connection, [test for test in model.tests if not test.by_key])
        finally:
            self._versions = self._columns = None
        return done, tested

    def run(self, model: SqlModel) -> ModelResult:
        """Materialize it in full. Before it writes, those that read it are made to run: a crash then costs a run."""
        self._forget(model)
        try:
            return materialize(self._session.connection, model, lambda: self._tell(model, None))
        finally:
            self._versions = self._columns = None

    def run_anew(self, models: Sequence[SqlModel]) -> None:
        """Run each in full, and drop from the journal what only models follow: they have seen all of it."""
        for model in models:
            self.run(model)
        self._session.journal.drop([*OF_MODELS, *(model.key for model in models)])

    def holds(self, model: SqlModel, rows: int) -> None:
        """It has run, and all its tests pass."""
        self._session.connection.execute(
            "INSERT INTO meta.model VALUES (?, ?, ?, ?, ?)",
            [model.key, signature(model), self._inputs(model), iso(self._as_of), rows],
        )
        if model.incremental:
            self._session.journal.advance(_consumer(model), self._unseen(model))

    def read_on(self, models: Sequence[SqlModel]) -> None:
        """Let the journal know that models which stand have seen all there is, and which models are no more."""
        standing = [_consumer(model) for model in models if model.incremental and self.standing(model) is not None]
        self._session.journal.models_read_on([_consumer(model) for model in models], standing)

    def _forget(self, model: SqlModel) -> None:
        self._session.connection.execute("DELETE FROM meta.model WHERE name = ?", [model.key])
        if model.incremental:
            self._session.journal.forget([_consumer(model)])

    def _tell(self, model: SqlModel, part: Part | None) -> None:
        """That a model is about to change, and of an incremental one which keys."""
        if part is not None:
            self._session.journal.add(model.key, part.keys)
        whole = [f"{UNTOLD}{model.key}"] if model.incremental and part is None else []
        count_change(self._session.connection, [model.key, *whole])

    def _part(self, model: SqlModel) -> Part | None:
        """What of an incremental model may have changed since it held; None where it has to run in full."""
        if not model.incremental:
            return None
        found = self._session.connection.execute(
            "SELECT ran, rows, inputs FROM meta.model WHERE name = ? AND signature = ?", [model.key, signature(model)]
        ).fetchall()
        if len(found) != 1 or not self._of_today(found[0][0]) or not self._is_there(model, int(found[0][1])):
            return None
        before, now = json.loads(found[0][2]), json.loads(self._inputs(model))
        changed = {name for name in {*before, *now} if before.get(name) != now.get(name)}
        changes = self._unseen(model)
        if not changed or not changed <= {follow.table for follow in model.follows} or changes.everything:
            return None
        return changed_keys(self._session, model, changed, changes, int(found[0][1]))

    def _unseen(self, model: SqlModel) -> Changes:
        topics = sorted({follow.topic for follow in model.follows})
        return self._session.journal.unseen(_consumer(model), topics, signature(model))

    def _inputs(self, model: SqlModel) -> str:
        if model.view:
            return "{}"
        if self._versions is None:
            self._versions = versions(self._session.connection)
        untold = [f"{UNTOLD}{follow.table}" for follow in model.follows]
        return json.dumps({name: self._versions.get(name, 0) for name in sorted({*_reads(model), *untold})})

    def _is_there(self, model: SqlModel, rows: int) -> bool:
        """Whether its view is there, or its table with as many rows."""
        if not self.columns(model):
            return False
        place = quote_identifier(model.schema, model.name)
        return model.view or int(self._session.scalar(f"SELECT count(*) FROM {place}")) == rows


def _consumer(model: SqlModel) -> str:
    """As which a model follows the journal."""
    return f"{OF_A_MODEL}{model.key}"


def _reads(model: SqlModel) -> list[str]:
    """What the model and its tests read, and its own table."""
    return sorted({model.key, *model.depends, *model.views, *(name for test in model.tests for name in test.depends)})


def signature(model: SqlModel) -> str:
    """Of everything but the rows that decides what the model gives: its text and tests, and what they stand on."""
    columns = {
        name: [(column.name, column.duckdb_type) for column in CONTRACTS[name].columns]
        for name in _reads(model)
        if name in CONTRACTS
    }
    parts = [model.sql, [test.sql for test in model.tests], columns, MACROS, duckdb.__version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
