"""Rows of a source as rows of its table: pure, one bad field never takes its row, one bad row never the others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import polars as pl

from crm_attribution.clock import parse_instant
from crm_attribution.contracts import Contract
from crm_attribution.contracts.base import Column
from crm_attribution.hubspot.parsed import Parsed, Refused
from crm_attribution.hubspot.texts import both, clean
from crm_attribution.money import CURRENCY, exchange_rate, shortest

Row = dict[str, Any]


def parsed(
    contract: Contract,
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    convert: Callable[[Mapping[str, Any], list[str]], Row],
    extracted_at: datetime,
    place: Callable[[Mapping[str, Any]], str] | None = None,
) -> Parsed:
    """Rows that follow the contract, and what was refused.

    Args:
        contract: of the table.
        rows: (where it stood, e.g. a file and row number; its fields).
        convert: a row's columns; adds `column:reason` to the list for a field it leaves out. Raises ValueError with
            `column:reason`.
        extracted_at: log time.
        place: how the key of a refused row begins, instead of its own key.
    """

    def refuse(where: str, given: Mapping[str, Any], reasons: str, *, stored: bool = False) -> Refused:
        found = _refuse(contract, where, given, reasons, stored=stored)
        return found if place is None else replace(found, key=clean(place(given) + where))

    found: list[Row] = []
    sources: dict[tuple[Any, ...], tuple[str, Mapping[str, Any]]] = {}
    refused = []
    logged = {column.name: extracted_at for column in contract.columns if column.log}
    for where, given in rows:
        problems: list[str] = []
        try:
            row = convert(given, problems) | logged
        except (ValueError, KeyError, TypeError) as error:
            refused.append(refuse(where, given, _reason(error)))
            continue
        found.append(row)
        sources[tuple(row[name] for name in contract.key)] = (where, given)
        if problems:
            refused.append(refuse(where, given, both(*problems), stored=True))
    frame = contract.conform(
        pl.DataFrame(found, schema=contract.polars_schema if not found else None, infer_schema_length=None)
    )
    sifted = contract.sift(frame)
    refused += [
        refuse(*sources[tuple(row[name] for name in contract.key)], row["reasons"], stored=stored)
        for stored, some in ((True, sifted.incomplete), (False, sifted.bad))
        for row in some.iter_rows(named=True)
    ]
    return Parsed(sifted.rows, refused)


def one_of_each(contract: Contract, rows: pl.DataFrame, received: str | None) -> pl.DataFrame:
    """One row per key.

    Args:
        contract: of the table.
        rows: in the order they were read.
        received: the column that says when the source learned of a row: the first it learned stays, whatever order
            rows are read in; of two at one instant the one that says more, then the smaller one by its text. None:
            the row read last stays, so that a corrected file replaces what it corrects.
    """
    key = list(contract.key)
    if received is None:
        return rows.unique(key, keep="last", maintain_order=True)
    told = list(contract.compared)
    silent = pl.sum_horizontal(pl.col(name).is_null().cast(pl.Int64) for name in told)
    first = rows.sort(received, silent, pl.struct(told).struct.json_encode())
    return first.unique(key, keep="first", maintain_order=True).sort(key)


def by_contract(
    contract: Contract,
    given: Mapping[str, Any],
    problems: list[str],
    readers: Mapping[str, Callable[[str], Any]] = MappingProxyType({}),
    filled: Collection[str] = (),
    columns: Iterable[Column] | None = None,
) -> Row:
    """A row read by the types of its contract: times ISO 8601 with a zone, dates ISO 8601, whole numbers in digits,
    `true` or `false`, lists as JSON or separated by commas. Columns the contract does not know are left out, and so is
    a value that cannot be read where the row may be without; `problems` says which.

    Args:
        contract: of the table.
        given: the row as it came.
        problems: receives `column:reason` of what is left out.
        readers: how the text of a column is read where not by its type; raise ValueError with a reason.
        filled: columns that are the empty text where the row has none.
        columns: only these; None: all that are not written for operators.

    Raises:
        ValueError: `column:reason`, for what is missing or cannot be read, where the row is nothing without.
    """
    row: Row = {}
    for column in contract.columns if columns is None else columns:
        if column.log:
            continue
        value = given.get(column.name)
        text = "" if value is None else value if isinstance(value, list) else clean(value).strip()
        if not text:
            if not column.nullable and (column.name not in filled or column.dtype != pl.String):
                raise ValueError(f"{column.name}:missing")
            row[column.name] = None if column.nullable else ""
            continue
        own = column.name in readers
        read: Callable[[Any], Any] = readers[column.name] if own else _READ[column.dtype.base_type()]
        nested = isinstance(value, dict) or (isinstance(value, list) and not isinstance(column.dtype, pl.List))
        try:
            if nested:
                raise ValueError
            row[column.name] = read(text)
        except ValueError as error:
            known = error if own and not nested else _KINDS.get(column.dtype.base_type(), "not_a_text")
            why = f"{column.name}:{known}"
            if not column.nullable:
                raise ValueError(why) from None
            row[column.name] = None
            problems.append(why)
    return row


def whole_number(text: str, bits: int = 64) -> int:
    """A whole number that a column of so many bits holds."""
    number = int(text)
    if abs(number) >= 2 ** (bits - 1):
        raise ValueError("not_a_whole_number")
    return number


def count(text: str) -> int:
    """How often something happened."""
    try:
        number = whole_number(text)
    except ValueError:
        raise ValueError("not_a_whole_number") from None
    if number < 0:
        raise ValueError("negative")
    return number


def slug(text: str) -> str:
    """A name in lower case, its words joined by `_`: spelling variants of it are one."""
    name = re.sub(r"[\W_]+", "_", text.casefold()).strip("_")
    if not name:
        raise ValueError("not_a_name")
    return name


def joined_digits(text: str) -> str:
    """An id without the dashes between digits that some exports print: 123-456-7890 is 1234567890."""
    return re.sub(r"(?<=\d)-(?=\d)", "", text)


def iso_currency(text: str) -> str:
    """An ISO 4217 code in capitals."""
    if not re.fullmatch(CURRENCY, text.upper()):
        raise ValueError("not_an_ISO_4217_code")
    return text.upper()


def month(text: str) -> date:
    """The first day of a month, told as such or as 2026-03."""
    try:
        day = date.fromisoformat(f"{text}-01" if re.fullmatch(r"\d{4}-\d{2}", text) else text)
    except ValueError:
        day = None
    if day is None or day.day != 1:
        raise ValueError("not_a_month")
    return day


def positive_decimal(text: str) -> str:
    """A decimal number above zero as its shortest text: equal numbers are equal texts."""
    rate = exchange_rate(text)
    if rate is None:
        raise ValueError("not_a_number_above_zero")
    return shortest(rate)


def listed(value: str | list[Any] | None) -> list[str]:
    """A list of texts, given as such, as JSON or separated by commas."""
    if value is None:
        return []
    if not isinstance(value, str | list):
        raise ValueError("not a list")
    if isinstance(value, str):
        return [part.strip() for part in clean(value).strip("[]").replace('"', "").split(",") if part.strip()]
    return [clean(part) for part in value]


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


_READ: dict[Any, Callable[[Any], Any]] = {
    pl.String: str,
    pl.Int64: whole_number,
    pl.Int32: partial(whole_number, bits=32),
    pl.Float64: float,
    pl.Boolean: _bool,
    pl.Date: date.fromisoformat,
    pl.Datetime: parse_instant,
    pl.List: listed,
}
_KINDS = {
    pl.Int64: "not_a_whole_number",
    pl.Int32: "not_a_whole_number",
    pl.Float64: "not_a_number",
    pl.Boolean: "not_true_or_false",
    pl.Date: "not_a_date",
    pl.Datetime: "not_a_time",
}


def _reason(error: Exception) -> str:
    text = str(error)
    return text if ":" in text and " " not in text else f"row:{type(error).__name__}"


def _refuse(contract: Contract, where: str, given: Mapping[str, Any], reasons: str, *, stored: bool = False) -> Refused:
    told = [given.get(name) for name in contract.key]
    key = [clean(value).strip() for value in told if value is not None and not isinstance(value, dict | list)]
    whole = len(key) == len(contract.key) and all(key)
    row = clean(json.dumps(given, default=str, sort_keys=True, ensure_ascii=False))
    return Refused(":".join(key) if whole else where, reasons, row, where, stored)
