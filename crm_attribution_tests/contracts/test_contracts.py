"""Every contract: types survive the warehouse, bad rows are separated with their reasons, nothing is undescribed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pandera.polars as pa
import polars as pl
import pytest
from pandera.api.polars.types import PolarsData
from pandera.errors import SchemaErrors

from crm_attribution.contracts import CONTRACTS, Contract
from crm_attribution.contracts.base import SCHEMAS, Model, field
from crm_attribution.errors import ContractViolation
from crm_attribution.warehouse.schema import create_table, table_name

ALL = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
MOMENT = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
SAMPLES: dict[type[pl.DataType], Any] = {
    pl.String: "Ünïcode",
    pl.Int64: 2**62,
    pl.Int32: 7,
    pl.Float64: 0.1,
    pl.Boolean: True,
    pl.Date: date(2026, 3, 1),
    pl.Datetime: MOMENT,
    pl.List: ["a", "b;c"],
}

CONSTRAINED = {
    "merged_ids": [1, 2**53 - 1],
    "object_type": "contacts", "from_type": "deals", "to_type": "contacts", "identifier_type": "email",
    "email": "a@b.example", "currency": "EUR", "probability": 0.5,
}  # fmt: skip

WRONG: dict[type[pl.DataType], tuple[Any, ...]] = {
    pl.String: ("", "?", "contacts"), pl.Int64: (-1,), pl.Int32: (-1,), pl.Float64: (-1.0, 2.0, float("nan"))
}  # fmt: skip
"""Values that some column of their type does not take."""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("SET GLOBAL TimeZone = 'UTC'")
        for schema in SCHEMAS:
            opened.execute(f"CREATE SCHEMA {schema}")
        yield opened


def sample(contract: Contract) -> pl.DataFrame:
    row = {column.name: SAMPLES[type(column.dtype)] for column in contract.columns}
    row |= {name: value for name, value in CONSTRAINED.items() if name in row}
    return pl.DataFrame([row], schema=contract.polars_schema)


@ALL
def test_a_row_comes_back_from_the_warehouse_as_it_went(contract: Contract, connection: duckdb.DuckDBPyConnection):
    rows = sample(contract).with_columns(
        pl.lit('{"a": "ü"}').alias(column.name) for column in contract.columns if column.duckdb_type == "JSON"
    )
    connection.execute(create_table(contract))
    connection.register("given", rows)
    connection.execute(f"INSERT INTO {table_name(contract.name)} BY NAME FROM given")
    back = contract.conform(connection.sql(f"FROM {table_name(contract.name)}").pl())
    assert back.schema == contract.polars_schema
    assert back.rows() == rows.rows()


@ALL
def test_the_warehouse_refuses_null_exactly_where_the_contract_does(
    contract: Contract, connection: duckdb.DuckDBPyConnection
):
    connection.execute(create_table(contract))
    refused = {
        name
        for name, nullable in connection.execute(
            "SELECT column_name, is_nullable FROM duckdb_columns() WHERE table_name = ? AND schema_name = ?",
            [contract.table, contract.schema],
        ).fetchall()
        if not nullable
    }
    assert refused == {column.name for column in contract.columns if not column.nullable}
    assert set(contract.key) <= refused, "a key column may not be null"


@ALL
def test_everything_is_described_and_in_a_known_schema(contract: Contract):
    assert contract.schema in SCHEMAS
    text, _, address = contract.description.partition(" https://")
    assert text.endswith(".")
    assert " " not in address
    assert [column.name for column in contract.columns if not column.description] == []
    assert set(contract.key) <= set(contract.compared), "a log column tells no rows apart"


def deals(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"id": 1, "properties": "{}", "created_at": MOMENT, "modified_at": MOMENT, "archived": False,
            "extracted_at": MOMENT}  # fmt: skip
    contract = CONTRACTS["raw.deal"]
    return contract.conform(pl.DataFrame([base | row for row in rows], infer_schema_length=None))


BROKEN = deals({}, {"id": -1, "currency": "Euro"}, {"id": 2}, {"id": None})


def test_split_keeps_the_good_rows_and_names_column_and_check_of_the_bad():
    good, bad = CONTRACTS["raw.deal"].split(BROKEN)
    assert good["id"].to_list() == [1, 2]
    assert bad["id"].to_list() == [-1, None]
    first, second = bad["reasons"]
    assert first.startswith("currency:str_matches(")
    assert "; id:greater_than_or_equal_to(" in first
    assert second == "id:not_nullable"


def test_split_of_good_rows_has_the_same_shape():
    good, bad = CONTRACTS["raw.deal"].split(deals({}))
    assert (good.height, bad.height, bad.columns[-1]) == (1, 0, "reasons")


def test_validate_says_which_checks_failed_and_no_value():
    with pytest.raises(ContractViolation, match=r"raw\.deal: 2 of 4 rows break the contract") as caught:
        CONTRACTS["raw.deal"].validate(BROKEN)
    assert "currency:str_matches" in str(caught.value)
    assert "Euro" not in str(caught.value)


@ALL
def test_a_row_is_good_exactly_where_pandera_finds_nothing(contract: Contract):
    row = sample(contract)
    wrong = [
        row.with_columns(pl.lit(value, dtype=column.dtype).alias(column.name))
        for column in contract.columns
        for value in (None, *WRONG.get(type(column.dtype), ()))
    ]
    rows = pl.concat([row, *wrong])
    try:
        contract.model.validate(rows, lazy=True)
        broken: set[int] = set()
    except SchemaErrors as error:
        broken = set(error.failure_cases["index"])
    assert {number for number in range(rows.height) if not contract.holds(rows[number])} == broken
    assert contract.split(rows)[1].height == len(broken) >= sum(not column.nullable for column in contract.columns)


class Even(Model):
    """Numbers with a check of their own."""

    number: int = field("a number")

    @pa.check("number")
    def even(cls, data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col(data.key) % 2 == 0)


def test_a_check_that_is_not_pandera_s_own_holds_as_well():
    column = replace(CONTRACTS["raw.deal"].columns[0], name="number")
    good, bad = Contract("raw.even", ("number",), "", (column,), Even).split(pl.DataFrame({"number": [1, 2]}))
    assert (good.rows(), bad.rows()) == ([(2,)], [(1, "number:even")])


def test_wrong_columns_and_types_are_no_rows_fault():
    contract = CONTRACTS["raw.deal"]
    for wrong in (deals({}).drop("archived"), deals({}).with_columns(amount=pl.lit("12"))):
        with pytest.raises(ContractViolation, match="wrong columns or types"):
            contract.split(wrong)


def test_conform_casts_orders_fills_and_refuses():
    contract = CONTRACTS["raw.owner"]
    given = pl.DataFrame({"archived": [False], "id": ["7"]})
    assert contract.conform(given).columns == list(contract.polars_schema)
    with pytest.raises(ContractViolation, match=r"unknown columns \['salary'\]"):
        contract.conform(given.with_columns(salary=1))
    with pytest.raises(ContractViolation, match="while casting") as caught:
        CONTRACTS["raw.deal"].conform(pl.DataFrame({"amount": ["secret"]}))
    assert "secret" not in str(caught.value)


@ALL
def test_no_rows_stay_no_rows(contract: Contract):
    assert contract.conform(pl.DataFrame()).equals(contract.empty())
    assert contract.validate(contract.empty()).is_empty()
