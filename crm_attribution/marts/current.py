"""Which models hold already what their inputs give, and need not run.

A model is a function of its tables (`marts/dependencies.py` refuses clocks, chance and files), so it stays right while
its text and the versions of those tables stay (`warehouse/versions.py`). The decision is kept in the warehouse, in
`meta.model`: it goes back with a snapshot that is restored, and a crash at any point leaves the model to run again.
Once a day, by the hours that runs stand for, every model and its tests run all the same. A view holds no rows: it is
made, and its tests run, once a day and when its text changes; whoever reads it stands on the tables behind it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from crm_attribution.clock import iso, parse_instant
from crm_attribution.contracts import CONTRACTS
from crm_attribution.marts.models import ModelResult, SqlModel, materialize
from crm_attribution.marts.place import model_columns
from crm_attribution.warehouse.identifiers import quote_identifier
from crm_attribution.warehouse.macros import MACROS
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.versions import count_change, versions


@dataclass(frozen=True)
class Standing:
    """What a model is since it ran last: `ran` is the end of the newest hour then. Rows of a view are as of then."""

    ran: datetime
    rows: int


class Models:
    """The models of a warehouse that is open, as of the end of its newest hour; nothing else writes meanwhile."""

    def __init__(self, session: Session, as_of: datetime) -> None:
        self._session, self._as_of = session, as_of
        self._versions: dict[str, int] | None = None  # of the tables, until a model runs

    def standing(self, model: SqlModel) -> Standing | None:
        """Since when the table holds what its inputs give and its tests pass; None where it has to run."""
        found = self._session.connection.execute(
            "SELECT ran, rows FROM meta.model WHERE name = ? AND signature = ? AND inputs = ?",
            [model.key, signature(model), self._inputs(model)],
        ).fetchall()
        if len(found) != 1 or any(name.startswith("meta.") for name in _reads(model)):
            return None
        ran, rows = parse_instant(found[0][0]), int(found[0][1])
        if ran.date() != self._as_of.astimezone(UTC).date() or not self._is_there(model, rows):
            return None
        return Standing(ran, rows)

    def run(self, model: SqlModel) -> ModelResult:
        """Materialize it. Before it writes, those that read it are made to run: a crash in between costs a run."""

        def before_writing() -> None:
            count_change(self._session.connection, [model.key])

        self._session.connection.execute("DELETE FROM meta.model WHERE name = ?", [model.key])
        try:
            return materialize(self._session.connection, model, before_writing)
        finally:
            self._versions = None

    def holds(self, model: SqlModel, rows: int) -> None:
        """It has run, and all its tests pass."""
        self._session.connection.execute(
            "INSERT INTO meta.model VALUES (?, ?, ?, ?, ?)",
            [model.key, signature(model), self._inputs(model), iso(self._as_of), rows],
        )

    def _inputs(self, model: SqlModel) -> str:
        if model.view:
            return "{}"
        if self._versions is None:
            self._versions = versions(self._session.connection)
        return json.dumps({name: self._versions.get(name, 0) for name in _reads(model)})

    def _is_there(self, model: SqlModel, rows: int) -> bool:
        """Whether its view is there, or its table with as many rows."""
        if not model_columns(self._session.connection, model):
            return False
        place = quote_identifier(model.schema, model.name)
        return model.view or int(self._session.scalar(f"SELECT count(*) FROM {place}")) == rows


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
