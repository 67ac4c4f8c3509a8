"""What helpers of several folders use: a moment from text, an empty warehouse, the rows of a query."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from crm_attribution.clock import parse_instant
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session


def at(text: str) -> datetime:
    """A moment in UTC; without a year (`04-23T11:04:19`) one of 2026."""
    return parse_instant(text if text[4:5] == "-" else f"2026-{text}Z")


def utc(text: str) -> datetime:
    """The same without a zone, as the marts have it."""
    return at(text).replace(tzinfo=None)


@cache
def _template() -> Path:
    """An empty warehouse, made once for each process: creating all tables takes a second."""
    folder = Path(mkdtemp(prefix="empty-warehouse-"))
    with Warehouse(folder).session():
        pass
    return folder


def new_warehouse(folder: Path) -> Warehouse:
    """An empty warehouse in a folder, which may exist."""
    shutil.copytree(_template(), folder, dirs_exist_ok=True)
    return Warehouse(folder)


def rows(session: Session, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return session.query(sql).rows()


@contextmanager
def undone(session: Session) -> Iterator[None]:
    """What is changed inside is rolled back at its end."""
    session.connection.execute("BEGIN")
    try:
        yield
    finally:
        session.connection.execute("ROLLBACK")
