"""The product's own settings."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from crm_attribution.clock import parse_instant
from crm_attribution.settings.base import Group, Setting, postgresql, secret, text, whole

OURS = "CRM_ATTRIBUTION_"


def _first_hour(given: str) -> datetime:
    try:
        start = parse_instant(given)
    except ValueError:
        raise ValueError(f"not an ISO 8601 timestamp, e.g. {DEFAULT_START}") from None
    if start.minute or start.second or start.microsecond:
        raise ValueError(f"must be a full hour, e.g. {DEFAULT_START}")
    return start


def _on_or_off(given: str) -> bool:
    if given.lower() not in ("on", "off"):
        raise ValueError("must be on or off")
    return given.lower() == "on"


def _seconds(given: str) -> float:
    if not (given.isascii() and given.isdigit()):
        raise ValueError("must be whole seconds")
    return float(given)


def _memory(given: str) -> str:
    if not re.fullmatch(r"[1-9]\d*(\.\d+)? ?([MG]i?B)", given):
        raise ValueError("must be a size such as 4GB or 800MB")
    return given


def _mode(given: str) -> int:
    if not re.fullmatch(r"0?4[04][04]", given):
        raise ValueError("must be a mode that lets its owner, and perhaps group (0440) or everybody (0444), read")
    return int(given, 8)


def _path(given: str) -> Path:
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError:
        raise ValueError("begins with ~ and names no user's home") from None


def _folder(given: str) -> Path:
    path = _path(given)
    for part in (path, *path.parents):
        if os.path.isfile(part):
            raise ValueError(f"{part} is a file: name a folder")
    return path


DEFAULT_START = "2026-01-01T00:00:00Z"


DATA_DIR = Setting(
    f"{OURS}DATA_DIR",
    "all runtime state, Dagster's home included. Belongs to one portal and one start",
    _folder,
    Path("data"),
    "`data`",
)


START = Setting(
    f"{OURS}START", "first partition hour, UTC", _first_hour, parse_instant(DEFAULT_START), f"`{DEFAULT_START}`"
)


MAPPING = Setting[Path | None](
    f"{OURS}MAPPING",
    "your business rules, merged deeply over `crm_attribution/mapping.yaml`",
    _path,
    None,
)


TRAITS = Setting[Path | None](
    f"{OURS}TRAITS",
    "folder with your own computed traits and audiences, `NAME.sql`, beside those of the product",
    _path,
    None,
)


SEND = Setting(f"{OURS}SEND", "`on` or `off`, for all destinations", _on_or_off, True, "`on`", empty_is_wrong=True)


WRITE_BACK = Setting(
    f"{OURS}WRITE_BACK",
    "`on` or `off`: whether HubSpot is told what `write_back` of the mapping names",
    _on_or_off,
    False,
    "`off`",
    empty_is_wrong=True,
)


LOCK_WAIT = Setting(
    f"{OURS}LOCK_WAIT", "seconds a run waits for another one", _seconds, 900.0, "900", empty_is_wrong=True
)


MEMORY = Setting[str | None](
    f"{OURS}MEMORY",
    "most that DuckDB may use, as `4GB`",
    _memory,
    None,
    "half of the memory of the machine or container",
)


SNAPSHOT_HOURS = whole(
    f"{OURS}SNAPSHOT_HOURS",
    "hours between two copies of the warehouse, made before a run; 0: before each run",
    6,
    most=720,
)


PUBLISHED_MODE = Setting(
    f"{OURS}PUBLISHED_MODE",
    "mode of `finance.duckdb`, as `0440` for its group; the data directory can then be entered, not listed",
    _mode,
    0o400,
    "`0400`",
)


PUBLISHED_DAYS = whole(
    f"{OURS}PUBLISHED_DAYS",
    "days for which the last published file of each day is kept in `finance/`, with its Parquet copies",
    31,
    most=3660,
)


ALERT_URL = secret(f"{OURS}ALERT_URL", "failed runs are posted there as JSON; whoever knows the address may post")


DAGSTER_URL = postgresql(
    f"{OURS}DAGSTER_URL",
    "PostgreSQL database in which Dagster keeps runs, events and schedules,"
    " `postgresql://USER:PASSWORD@HOST/DATABASE`, of one data directory; by default SQLite in it",
)


CLOCK = text(f"{OURS}CLOCK", "`wall`; a timestamp or the sandbox's clock address for replaying a past portal", "wall")


PRODUCT = Group(
    "The product",
    (
        *(DATA_DIR, START, MAPPING, TRAITS, SEND, WRITE_BACK, LOCK_WAIT, MEMORY, SNAPSHOT_HOURS, PUBLISHED_MODE),
        *(PUBLISHED_DAYS, DAGSTER_URL, ALERT_URL, CLOCK),
    ),
)
