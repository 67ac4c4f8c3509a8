"""What every reader of HubSpot's JSON makes: rows of a table, and what was refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot.texts import clean

Record = Mapping[str, Any]


@dataclass
class Refused:
    """A row for quarantine.

    Attributes:
        key: of the row.
        reasons: what could not be read, `field:problem; …`.
        row: as it came, JSON.
        source: where it came from.
        stored: the row was stored without the fields that could not be read.
    """

    key: str
    reasons: str
    row: str
    source: str
    stored: bool = False


@dataclass
class Parsed:
    """Rows of one table, and what was refused."""

    rows: pl.DataFrame
    refused: list[Refused] = field(default_factory=list)


def refuse(result: Record, name: str, reasons: str, *, key: str | None = None, stored: bool = False) -> Refused:
    row = json.dumps(result, ensure_ascii=False, default=str, sort_keys=True)
    return Refused(clean(key or result.get("id")), reasons, clean(row), name, stored)


def frame_of(name: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return CONTRACTS[name].conform(
        pl.DataFrame(rows, schema={k: v for k, v in CONTRACTS[name].polars_schema.items() if not rows or k in rows[0]})
    )
