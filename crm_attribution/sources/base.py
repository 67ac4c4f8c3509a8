"""What a source is: a table, a drop folder, and maybe an API that is read in pages.

A source is one file of this folder that defines `SOURCE`. Its rows come from files in `inbox/FOLDER` and, where it has
an API and the settings for it, from there too. It knows one provider's fields and nothing else: no tables, no clock.
When it is read and where its rows go is decided in `raw/plugins.py`, the same for all.

A source of files alone is an instance of `Source` and a contract; one with an API is a subclass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.contracts import CONTRACTS, Contract
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.parsed import Parsed
from crm_attribution.settings import Group, Setting, Settings
from crm_attribution.sources.rows import Row, by_contract, one_of_each, parsed

Given = Mapping[str, Any]
"""A row as it came: texts from files, JSON values from an API."""


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
        received_column: the column that says when the source learned of a row. Of one key told twice, by two files or a
            file and the API, the row learned first stays, whichever is read last. None: the row read last stays.
        settings: its own settings. It has an API where it has required ones; without values for them it reads files
            only, with values for some of them the others are missing.
        derived: columns that `row` or `judge` makes and no file has.
        filled: columns that `row` fills where a file does not have them.
        page_size: rows of an answer of the API.
        documentation: where the fields of a file and the API are described.
    """

    name: str
    table: str
    folder: str
    owner_column: str | None = None
    received_column: str | None = None
    settings: Sequence[Setting[str]] = ()
    derived: Sequence[str] = ()
    filled: Sequence[str] = ()
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
        return by_contract(self.contract, given, problems)

    def parse(self, rows: Iterable[tuple[str, Given]], *, extracted_at: datetime) -> Parsed:
        """Rows of the table and what was refused.

        Args:
            rows: (where it stood, e.g. a file and row number; the row as it came).
            extracted_at: log time.
        """
        found = parsed(self.contract, rows, self.row, extracted_at)
        return Parsed(self.judge(self.one_of_each(found.rows)), found.refused)

    def one_of_each(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row per key of rows in the order they were read; see `received_column`."""
        return one_of_each(self.contract, rows, self.received_column)

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that follow the contract, with what can be said of each by itself."""
        return rows


def columns(source: Source) -> Iterable[tuple[str, str, bool]]:
    """Name, description and whether it is needed, of each column a file of a source may have."""
    return (
        (column.name, column.description, not column.nullable and column.name not in source.filled)
        for column in source.contract.columns
        if not column.log and column.name not in source.derived
    )
