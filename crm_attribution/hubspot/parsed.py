"""What every reader of HubSpot's JSON needs: rows with what was refused, and values read without a surprise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.clock import from_millis, parse_instant
from crm_attribution.contracts import CONTRACTS

Record = Mapping[str, Any]


@dataclass
class Refused:
    """A row for quarantine: its key, why, what it was, and where it came from."""

    key: str
    reasons: str
    row: str
    source: str


@dataclass
class Parsed:
    """Rows of one table, and what was refused."""

    rows: pl.DataFrame
    refused: list[Refused] = field(default_factory=list)


def clean(value: object) -> str:
    """As text that can be stored. Half of a surrogate pair, where a form cut an emoji in two, becomes U+FFFD."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def blank(value: object) -> str | None:
    return None if value is None or not str(value).strip() else clean(value).strip()


def millis(text: str | None) -> datetime | None:
    try:
        return None if text is None else from_millis(text)
    except ValueError:
        return None


def listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(";") if part.strip()]


def number(text: object) -> float | None:
    try:
        return None if text is None else float(str(text))
    except ValueError:
        return None


def moment(name: str, text: str) -> datetime:
    try:
        return from_millis(text) if text.lstrip("-").isdigit() else parse_instant(text)
    except ValueError:
        raise ValueError(f"{name}:not_a_time") from None


def reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]}:missing"
    text = str(error)
    return text if ":" in text and " " not in text else f"record:{type(error).__name__}"


def refuse(result: Record, name: str, reasons: str, *, key: str | None = None) -> Refused:
    row = json.dumps(result, ensure_ascii=False, default=str, sort_keys=True)
    return Refused(clean(key or result.get("id")), reasons, clean(row), name)


def frame_of(name: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return CONTRACTS[name].conform(
        pl.DataFrame(rows, schema={k: v for k, v in CONTRACTS[name].polars_schema.items() if not rows or k in rows[0]})
    )
