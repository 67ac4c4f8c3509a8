"""What a source is: a table, a drop folder, and maybe an API that is read in pages.

A source is one file of this folder that defines `SOURCE`. Its rows come from files in `inbox/FOLDER` and, where it has
an API and the settings for it, from there too. It knows one provider's fields and nothing else: no tables, no clock.
When it is read and where its rows go is decided in `raw/plugins.py`, the same for all.

A source of files alone is an instance of `Source` and a contract; one with an API is a subclass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crm_attribution.contracts import CONTRACTS, Contract
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.parsed import Parsed
from crm_attribution.settings import Group, Setting, Settings
from crm_attribution.sources.restated import TOLD_AT, Doubles, Restated, one_telling
from crm_attribution.sources.rows import Row, by_contract, one_of_each, parsed

Given = Mapping[str, Any]
"""A row as it came: texts from files, JSON values from an API."""

FUTURE = timedelta(days=1)
"""What a clock may be ahead: a row dated later would win over all that is told until then."""


@dataclass(frozen=True)
class Connection:
    """Where an API is and how it is asked.

    Attributes:
        base_url: without a slash at the end.
        headers: with the credential.
        credential: the setting a message about a refused credential names.
    """

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    credential: str


@dataclass(frozen=True)
class Source:
    """One source of rows.

    Attributes:
        name: of the stream, as raw.extraction shows it, in lower case.
        table: the contract its rows follow.
        folder: the folder of the inbox that is watched for files (NDJSON, CSV, Parquet).
        owner_column: the column with the HubSpot contact a row is about (`hubspot_id`): rows of erased contacts are
            left out.
        happened: columns with the time of an act: a row that tells one of tomorrow or later is refused.
        received_column: the column that says when the source learned of a row. Of one key told twice, by two files or a
            file and the API, the row learned first stays, whichever is read last. None: the row read last stays.
        settings: its own settings. It has an API where it has required ones; without values for them it reads files
            only, with values for some of them the others are missing.
        derived: columns that `row` or `judge` makes and no file has.
        filled: columns that are filled where a file does not have them; texts with the empty text.
        restated: a file tells parts of the table whole, and a later one replaces them. The contract has `told_at`.
        readers: how the text of a column is read where not as its type says. Raise ValueError with a reason.
        in_files: what a column is in a file, where that is not what it is in the table.
        page_size: rows of an answer of the API.
        documentation: where the fields of a file and the API are described.
    """

    name: str
    table: str
    folder: str
    owner_column: str | None = None
    happened: Sequence[str] = ()
    received_column: str | None = None
    settings: Sequence[Setting[str]] = ()
    derived: Sequence[str] = ()
    filled: Sequence[str] = ()
    restated: Restated | None = None
    readers: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    in_files: Mapping[str, str] = field(default_factory=dict)
    page_size: int = 1_000
    documentation: str = ""

    @property
    def contract(self) -> Contract:
        return CONTRACTS[self.table]

    @property
    def group(self) -> Group:
        """Its settings, as the table of settings shows them."""
        return Group(f"Source {self.name}", self.settings)

    @property
    def required(self) -> list[Setting[str]]:
        """The settings its API needs."""
        return [setting for setting in self.settings if setting.required]

    @property
    def kind(self) -> str:
        """What Dagster shows of it: `api` or `file`."""
        return "api" if self.required else "file"

    def needed(self, given: Settings) -> list[Setting[str]]:
        """What must be set: all that its API needs where some of it is set, else nothing."""
        return self.required if len(given.missing(self.required)) < len(self.required) else []

    def connects(self, given: Settings) -> bool:
        """Whether its API can be asked."""
        return bool(self.required) and not given.missing(self.required)

    def connection(self, given: Settings) -> Connection:
        """Where its API is; asked only where `connects`."""
        raise NotImplementedError(f"{self.name} has no API")

    def pages(self, transport: Transport, since: datetime | None) -> Iterator[Sequence[Given]]:
        """Rows that came into being at or after `since` (None: all of them), page by page, in the API's order.

        Raises:
            Retryable: when what was read is not complete.
            Rejected: when an answer does not have the agreed shape.
        """
        raise NotImplementedError(f"{self.name} has no API")

    def row(self, given: Given, problems: list[str]) -> Row:
        """A row of the table, without the columns written for operators (`extracted_at`). A field that is left out
        because it cannot be read is added to `problems` as `column:reason`.

        Raises:
            ValueError: `column:reason`, when the row cannot be read.
        """
        return by_contract(self.contract, given, problems, self.readers, self.filled)

    def parse(
        self, rows: Iterable[tuple[str, Given]], *, extracted_at: datetime, told_at: datetime | None = None
    ) -> Parsed:
        """Rows of the table and what was refused.

        Args:
            rows: (where it stood, e.g. a file and row number; the row as it came).
            extracted_at: log time.
            told_at: when the rows were told, where they do not say; read for parts that are told again.
        """
        doubles = Doubles() if self.restated and self.restated.adds else None

        def convert(given: Given, problems: list[str]) -> Row:
            dated = {TOLD_AT: told_at.isoformat(), **_told(given)} if self.restated and told_at else given
            row = self.row(dated, problems)
            for column in (*self.happened, *([TOLD_AT] if self.restated else ())):
                if row[column] is not None and row[column] > extracted_at + FUTURE:
                    raise ValueError(f"{column}:in_the_future")
            if doubles:
                doubles.refuse(given)
            return row

        found = parsed(self.contract, rows, convert, extracted_at, self.place if self.restated else None)
        return Parsed(self.judge(self.one_of_each(found.rows)), found.refused)

    def place(self, given: Given) -> str:
        """Where in the table a refused row would stand, as `place_of` writes it; empty where it cannot be read."""
        part = self.restated.part if self.restated else ()
        columns = [column for column in self.contract.columns if column.name in part]
        try:
            read = by_contract(self.contract, given, [], self.readers, self.filled, columns)
        except ValueError:
            return ""
        return place_of([read[name] for name in part])

    def one_of_each(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per key of rows in the order they were read; see `received_column` and `restated`."""
        if self.restated is not None:
            return one_telling(self.contract, self.restated, rows)
        return one_of_each(self.contract, rows, self.received_column)

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that follow the contract, with what can be said of each by itself."""
        return rows


def place_of(values: Iterable[object]) -> str:
    """How the keys of refused rows of a part begin."""
    return "".join(f"{value}:" for value in values)


def _told(given: Given) -> Given:
    return {name: value for name, value in given.items() if name != TOLD_AT or str(value or "").strip()}


def columns(source: Source) -> Iterable[tuple[str, str, bool]]:
    """Name, description and whether it is needed, of each column a file of a source may have."""
    return (
        (
            column.name,
            source.in_files.get(column.name, column.description),
            not column.nullable and column.name not in source.filled,
        )
        for column in source.contract.columns
        if not column.log and column.name not in source.derived
    )
