"""What somebody else wrote into the files is noticed when they are opened next."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.handover import STAMP

pytestmark = pytest.mark.warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """One that remembers of a model that it holds, with a mart of one row."""
    made = Warehouse(tmp_path / "data")
    with made.session() as session:
        session.connection.execute("CREATE TABLE marts_file.marts.figure AS SELECT 100 AS cents")
        session.connection.execute(
            "INSERT INTO meta.model VALUES ('marts.figure', 's', '{}', '2026-01-01T00:00:00Z', 1)"
        )
    return made


def remembered(warehouse: Warehouse) -> int:
    with Warehouse(warehouse.directory).session() as session:
        return int(session.scalar("SELECT count(*) FROM meta.model"))


def test_our_own_sessions_forget_nothing(warehouse: Warehouse) -> None:
    with warehouse.session() as session:
        session.connection.execute("UPDATE marts_file.marts.figure SET cents = 101")
    with warehouse.exclusive():
        pass
    with warehouse.kept_open():
        for _ in range(2):
            with warehouse.session() as session:
                session.state.store("x", "y")
    assert remembered(warehouse) == 1


@pytest.mark.parametrize("file", ["marts.duckdb", "warehouse.duckdb"])
def test_what_another_client_wrote_makes_everything_run(warehouse: Warehouse, file: str) -> None:
    with duckdb.connect(str(warehouse.directory / file)) as other:
        other.execute("CREATE TABLE main.noticed (a INTEGER)")
    assert remembered(warehouse) == 0


def test_a_file_put_in_its_place_or_a_lost_stamp_makes_everything_run(warehouse: Warehouse) -> None:
    copied = warehouse.directory.with_name("copied")
    shutil.copytree(warehouse.directory, copied)
    assert remembered(Warehouse(copied)) == 1, "a copy with its times is what it was"
    (copied / STAMP).unlink()
    assert remembered(Warehouse(copied)) == 0


def test_a_stamp_that_cannot_be_read_is_none(warehouse: Warehouse) -> None:
    (warehouse.directory / STAMP).write_text("{", encoding="utf-8")
    assert remembered(warehouse) == 0
