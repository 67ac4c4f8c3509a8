"""Every model runs on empty tables, describes itself, passes its data tests, and does not depend on row order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.marts.models import SqlModel, SqlTest, run_test
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.marts import sample_rows

MODELS = sample_rows.models()
MARTS = [model for model in MODELS if model.schema == "marts"]
TESTS = [test for model in MODELS for test in model.tests]
LOG_COLUMNS = {c.name for contract in CONTRACTS.values() for c in contract.columns if c.log} - {"recorded_at"}
"""recorded_at of figures is the time as of which they are known: the end of an hour."""


def key(model: SqlModel) -> str:
    return model.key


def name(test: SqlTest) -> str:
    return f"{test.model} {test.name}"


def contents(session: Session) -> dict[str, list[tuple[object, ...]]]:
    return {
        model.key: sorted(session.connection.execute(f"SELECT * FROM {model.key}").fetchall(), key=repr)
        for model in MODELS
    }


def test_an_empty_warehouse_gives_empty_tables_that_pass_every_data_test(empty: Session) -> None:
    assert sample_rows.build(empty) == 0
    assert set(map(len, contents(empty).values())) == {0}
    assert [name(test) for test in TESTS if not run_test(empty.connection, test).passed] == []


@pytest.mark.parametrize("model", MODELS, ids=key)
def test_filled_tables_pass_every_data_test(marts: Session, model: SqlModel) -> None:
    assert [(test.name, run_test(marts.connection, test).sample) for test in model.tests] == [
        (test.name, []) for test in model.tests
    ]


def test_a_second_run_changes_nothing(marts: Session) -> None:
    assert sample_rows.build(marts) == 0


@pytest.mark.parametrize("model", MARTS, ids=key)
def test_a_mart_has_a_grain_required_columns_and_a_data_test(model: SqlModel) -> None:
    names = {test.name for test in model.tests}
    assert any(text.startswith("unique_") for text in names)
    assert any(text.endswith("_not_null") for text in names)
    assert any(test.path.name.endswith(".test.sql") for test in model.tests)


@pytest.mark.parametrize("model", MODELS, ids=key)
def test_descriptions_say_something(model: SqlModel) -> None:
    assert len(model.description) > 20
    assert [column.name for column in model.columns if len(column.description) < 8] == []


@pytest.mark.parametrize("model", MARTS, ids=key)
def test_marts_have_no_floats_no_person_ids_and_no_log_times(marts: Session, model: SqlModel) -> None:
    columns = marts.connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'marts' AND table_name = ?",
        [model.name],
    ).fetchall()
    assert {kind for _, kind in columns} & {"DOUBLE", "FLOAT", "HUGEINT", "JSON"} == set()
    assert {column for column, _ in columns} & {"person_id", "group_key", *LOG_COLUMNS} == set()


@pytest.mark.parametrize("model", MARTS, ids=key)
def test_money_in_minor_units_has_its_currency_beside(model: SqlModel) -> None:
    columns = {column.name for column in model.columns}
    assert "currency" in columns or not any(column.endswith("_minor") for column in columns)


def test_the_order_of_rows_changes_nothing(marts: Session, tmp_path: Path) -> None:
    chance = random.Random(1)
    with new_warehouse(tmp_path).session() as session:
        sample_rows.fill(
            session, {table: chance.sample(rows, len(rows)) for table, rows in sample_rows.tables().items()}
        )
        sample_rows.build(session)
        assert contents(session) == contents(marts)


def test_touches_at_one_moment_are_ordered_by_their_id(empty: Session) -> None:
    tables = sample_rows.tables()
    tables["attribution.touch"] = [
        {**row, "touched_at": at("2026-03-01T09:00:00Z"), "person_id": "p1", "account_id": sample_rows.ACME}
        for row in reversed(tables["attribution.touch"])
    ]
    sample_rows.fill(empty, tables)
    sample_rows.build(empty)
    found = empty.connection.execute(
        "SELECT DISTINCT entry_touch_id FROM staging.funnel_entry WHERE account_id = ? OR subject_id = 'p1'",
        [sample_rows.ACME],
    ).fetchall()
    assert found == [("click:a",)]


def test_person_ids_leave_no_trace_in_the_marts(marts: Session, tmp_path: Path) -> None:
    """Person ids are memory: another warehouse that minted others shows the same marts."""
    tables = sample_rows.tables()
    for table in ("events.milestone", "attribution.touch", "conversions.conversion"):
        tables[table] = [
            {**row, "person_id": row["person_id"] and f"other-{row['person_id']}"} for row in tables[table]
        ]
    with new_warehouse(tmp_path).session() as session:
        sample_rows.fill(session, tables)
        sample_rows.build(session)
        theirs, ours = contents(session), contents(marts)
        assert {model.key: theirs[model.key] for model in MARTS} == {model.key: ours[model.key] for model in MARTS}
