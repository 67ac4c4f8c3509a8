"""A table's contract: one pandera class gives columns, types, key, descriptions and validation.

`@table` registers the class; everything else (DDL, Dagster column schema, quarantine) is derived from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any, TypeVar

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.errors import SchemaErrors

from crm_attribution.contracts.topics import Entry, Journal, entries
from crm_attribution.errors import ContractViolation
from crm_attribution.identifiers import normalised_emails

Timestamp = Annotated[pl.Datetime, "us", "UTC"]
Strings = Annotated[pl.List, pl.String()]
RecordIds = Annotated[pl.List, pl.Int64()]

SCHEMAS = (
    "raw",
    "staging",
    "identity",
    "events",
    "attribution",
    "conversions",
    "delivery",
    "finance",
    "marts",
    "quarantine",
)


class Model(pa.DataFrameModel):
    """Base of all contracts: no column more, no column less, no coercion."""

    class Config:
        strict = True
        coerce = False


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: the column's name, the same in Polars and DuckDB.
        dtype: its Polars type.
        duckdb_type: its DuckDB type as written in DDL.
        nullable: whether null is a legal value.
        description: what it means, with unit and time zone.
        checks: the value checks in words.
        log: written for operators only; never a reason to rewrite a row.
        email_of: the column whose e-mail it holds normalised, written with the row (`identifiers.normalise_email`).
    """

    name: str
    dtype: pl.DataType
    duckdb_type: str
    nullable: bool
    description: str
    checks: tuple[str, ...]
    log: bool
    email_of: str | None


@dataclass(frozen=True)
class Sifted:
    """What became of rows from outside.

    Attributes:
        rows: rows that can be stored, unreadable fields null.
        incomplete: those of them that lost a field, with `reasons` (`column:check; …`).
        bad: rows that cannot be stored, with `reasons`.
    """

    rows: pl.DataFrame
    incomplete: pl.DataFrame
    bad: pl.DataFrame


@dataclass(frozen=True)
class Contract:
    """Everything derived from one contract class.

    Attributes:
        near: rows that are written together are stored in the order of these columns, so that what is read together
            lies together: a database without indexes then reads a few places of the table, not all of it.
    """

    name: str
    key: tuple[str, ...]
    description: str
    columns: tuple[Column, ...]
    model: type[Model]
    journal: tuple[Entry, ...] = ()
    near: tuple[str, ...] = ()

    @property
    def schema(self) -> str:
        return self.name.split(".")[0]

    @property
    def table(self) -> str:
        return self.name.split(".")[1]

    @cached_property
    def polars_schema(self) -> pl.Schema:
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def compared(self) -> tuple[str, ...]:
        """The columns whose change makes a row a different row."""
        return tuple(column.name for column in self.columns if not column.log)

    @cached_property
    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.polars_schema)

    def empty(self) -> pl.DataFrame:
        return self._empty.clone()

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Select and order the contract's columns and cast to its types; nulls for columns not there, and e-mails
        normalised where their column is empty.

        Raises:
            ContractViolation: when a column cannot be cast or the frame has columns the contract does not know.
        """
        unknown = set(frame.columns) - set(self.polars_schema.names())
        if unknown:
            raise ContractViolation(f"{self.name}: unknown columns {sorted(unknown)}")
        if frame.is_empty():
            return self.empty()  # of no columns at all, the select below would make one row of nulls
        for column in self.columns:
            if column.email_of in frame.columns:
                frame = _with_email(frame, column.name, frame[column.email_of])
        if frame.schema == self.polars_schema:
            return frame
        try:
            return frame.select(
                (pl.col(column.name) if column.name in frame.columns else pl.lit(None))
                .cast(column.dtype)
                .alias(column.name)
                for column in self.columns
            )
        except pl.exceptions.PolarsError as error:
            raise ContractViolation(f"{self.name}: {type(error).__name__} while casting to the contract") from error

    def validate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Check every row; for derived tables, where a bad row is our defect.

        Raises:
            ContractViolation: naming the columns and checks that failed, never a value.
        """
        good, bad = self.split(frame)
        if bad.height:
            reasons = bad["reasons"].value_counts(sort=True).head(5).rows()
            raise ContractViolation(f"{self.name}: {bad.height} of {frame.height} rows break the contract: {reasons}")
        return good

    def split(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Good rows, and bad rows with a `reasons` column (`column:check; …`).

        Raises:
            ContractViolation: when columns or types are wrong, which is no row's fault.
        """
        cases = self._failures(frame)
        if cases.is_empty():
            return frame, frame.clear().with_columns(reasons=pl.lit(None, pl.String))
        rows, why = frame.with_row_index("_row"), _reasons(cases)
        return (
            rows.join(why, on="_row", how="anti", maintain_order="left").drop("_row"),
            rows.join(why, on="_row", how="inner", maintain_order="left").drop("_row"),
        )

    def sift(self, frame: pl.DataFrame) -> Sifted:
        """Rows of a table fed from outside: a value that breaks its column's rule becomes null where it may be, so that
        one unreadable field does not take the row with it.

        Raises:
            ContractViolation: when columns or types are wrong, which is no row's fault.
        """
        cases = self._failures(frame)
        nothing = frame.clear().with_columns(reasons=pl.lit(None, pl.String))
        if cases.is_empty():
            return Sifted(frame, nothing, nothing)
        clearable = [column.name for column in self.columns if column.nullable and column.name not in self.key]
        fatal = cases.filter(~pl.col("column").is_in(clearable)).select("_row").unique()
        rows = frame.with_row_index("_row")
        bad = rows.join(_reasons(cases.join(fatal, on="_row", how="semi")), on="_row", maintain_order="left")
        kept = rows.join(fatal, on="_row", how="anti", maintain_order="left")
        mended = cases.join(fatal, on="_row", how="anti")
        for name in mended["column"].unique().sort():
            broken = mended.filter(pl.col("column") == name)["_row"]
            kept = kept.with_columns(pl.when(~pl.col("_row").is_in(broken.implode())).then(name).alias(name))
        incomplete = kept.join(_reasons(mended), on="_row", maintain_order="left")
        return Sifted(kept.drop("_row"), incomplete.drop("_row"), bad.drop("_row"))

    def _failures(self, frame: pl.DataFrame) -> pl.DataFrame:
        """_row, column, check of every value that breaks the contract."""
        none = pl.DataFrame(schema={"_row": pl.UInt32, "column": pl.String, "check": pl.String})
        if frame.schema == self.polars_schema and self.holds(frame):
            return none
        try:
            self.model.validate(frame, lazy=True)
        except SchemaErrors as error:
            cases = error.failure_cases
            if not isinstance(cases, pl.DataFrame) or cases["index"].null_count():
                raise ContractViolation(f"{self.name}: wrong columns or types") from error
            return cases.select(pl.col("index").cast(pl.UInt32).alias("_row"), "column", "check")
        return none

    def holds(self, frame: pl.DataFrame) -> bool:
        """Whether rows of the contract's types surely break nothing: pandera's own checks in one query. Asked column by
        column, as pandera does, each takes a millisecond."""
        if frame.is_empty():
            return True
        filled = [frame[column.name] for column in self.columns if not column.nullable]
        if any(values.null_count() or (values.dtype.is_float() and values.is_nan().any()) for values in filled):
            return False
        lazy = frame.lazy()
        asked = None if self._asked is None else [check(PolarsData(lazy, name)) for name, check in self._asked]
        return asked is not None and all(answer.to_series().all() for answer in pl.collect_all(asked))

    @cached_property
    def _asked(self) -> list[tuple[str, Callable[[PolarsData], pl.LazyFrame]]] | None:
        """The value checks, each with its column; None where a contract has others than pandera's of one value."""
        pa.Check.get_backend(pl.LazyFrame())  # registers pandera's checks for Polars
        schema = self.model.to_schema()
        checks = [(name, check) for name, column in schema.columns.items() for check in column.checks]
        plain = all(check.ignore_na and pa.Check.is_builtin_check(check.name) for _, check in checks)
        if not plain or schema.checks or schema.unique or any(column.unique for column in schema.columns.values()):
            return None
        return [
            (name, partial(pa.Check.get_builtin_check_fn(check.name), **check.statistics)) for name, check in checks
        ]


def _reasons(cases: pl.DataFrame) -> pl.DataFrame:
    """_row, reasons (`column:check; …`)."""
    return cases.group_by("_row").agg(reasons=(pl.col("column") + ":" + pl.col("check")).unique().sort().str.join("; "))


def _with_email(frame: pl.DataFrame, name: str, emails: pl.Series) -> pl.DataFrame:
    """The frame with the normalised e-mails in a column, computed only where it has none yet."""
    given = frame[name] if name in frame.columns else pl.Series(name, [None] * frame.height, emails.dtype)
    if not (given.is_null() & emails.is_not_null()).any():
        return frame.with_columns(given)
    return frame.with_columns(pl.coalesce(given, normalised_emails(emails).alias(name)).alias(name))


CONTRACTS: dict[str, Contract] = {}

M = TypeVar("M", bound=type[Model])


def table(
    name: str, *, key: tuple[str, ...], journal: Journal | None = None, near: tuple[str, ...] = ()
) -> Callable[[M], M]:
    """Register a contract class as the table `schema.name` with its key columns, what its changes journal, and by which
    columns its rows lie together (`Contract.near`)."""

    def register(model: M) -> M:
        CONTRACTS[name] = _contract(name, key, model, entries(journal or {}), near)
        return model

    return register


def field(description: str, **options: Any) -> Any:
    """A column: its description first, then pandera's own options; `json`, `log` and `email_of` are ours."""
    metadata = {name: options.pop(name, False) for name in ("json", "log", "email_of")}
    return pa.Field(description=description, metadata=metadata, **options)


def hubspot_id(description: str, **options: Any) -> Any:
    """A column of HubSpot record ids, which are positive integers: text outside the warehouse, BIGINT in it.

    https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide
    """
    return field(description, ge=0, **options)


def _contract(
    name: str, key: tuple[str, ...], model: type[Model], journal: tuple[Entry, ...], near: tuple[str, ...]
) -> Contract:
    columns = []
    for column in model.to_schema().columns.values():
        given = column.dtype.type
        dtype: pl.DataType = given() if isinstance(given, type) else given
        metadata = column.metadata or {}
        columns.append(
            Column(
                name=column.name,
                dtype=dtype,
                duckdb_type="JSON" if metadata.get("json") else duckdb_type(dtype),
                nullable=bool(column.nullable),
                description=column.description or "",
                checks=tuple(str(check.error) for check in column.checks),
                log=bool(metadata.get("log")),
                email_of=metadata.get("email_of") or None,
            )
        )
    missing = {*key, *near} - {column.name for column in columns}
    if missing:
        raise ContractViolation(f"{name}: key or near columns {sorted(missing)} are not in the contract")
    return Contract(name, key, " ".join((model.__doc__ or "").split()), tuple(columns), model, journal, near)


_DUCKDB_TYPES: dict[type[pl.DataType], str] = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Int32: "INTEGER",
    pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
    pl.Date: "DATE",
    pl.Datetime: "TIMESTAMPTZ",
}


def duckdb_type(dtype: pl.DataType) -> str:
    """The DuckDB type that holds a Polars type without loss."""
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        return duckdb_type(inner if isinstance(inner, pl.DataType) else inner()) + "[]"
    return _DUCKDB_TYPES[type(dtype)]
