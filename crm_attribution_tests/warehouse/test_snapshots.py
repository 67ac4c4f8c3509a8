"""A snapshot is what the warehouse was, or it is not there; putting it back loses nothing silently."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from crm_attribution.errors import ConfigurationError, WarehouseDamaged
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.connection import Warehouse

pytestmark = pytest.mark.warehouse

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def write(warehouse: Warehouse, name: str) -> None:
    with warehouse.session() as session, session.transaction():
        session["raw.owner"].upsert(pl.DataFrame({"id": [name], "email": [None], "archived": [False]}))


def owners(directory: Path) -> list[str]:
    with Warehouse(directory).session() as session:
        return session.read("raw.owner")["id"].sort().to_list()


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """One that has seen an hour."""
    made = Warehouse(tmp_path)
    write(made, "1")
    with made.session() as session:
        session.state.watermark = NOON
    return made


def test_a_snapshot_is_put_back_whole_and_what_stood_there_is_kept(warehouse: Warehouse):
    taken = snapshots.take(warehouse, NOON, HOUR)
    assert taken is not None
    write(warehouse, "2")
    snapshots.put_back(warehouse.directory, NOON + HOUR)
    assert owners(warehouse.directory) == ["1"]
    (away,) = (warehouse.directory / "damaged").iterdir()
    assert owners(away) == ["1", "2"]
    for folder in (warehouse.directory / "snapshots", away, warehouse.directory / "snapshots" / taken.name):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_file_of_the_marts_is_read_though_its_schema_has_its_name(warehouse: Warehouse):
    with warehouse.session() as session:
        session.change("CREATE TABLE marts.funnel AS SELECT 1 AS step")
    assert snapshots.take(warehouse, NOON, HOUR) is not None
    snapshots.put_back(warehouse.directory, NOON + HOUR)
    with Warehouse(warehouse.directory).session() as session:
        assert session.scalar("SELECT step FROM marts.funnel") == 1


def test_one_is_taken_when_something_was_written_and_the_time_has_come(warehouse: Warehouse):
    assert snapshots.take(warehouse, NOON, HOUR) is not None
    write(warehouse, "2")
    assert snapshots.take(warehouse, NOON + HOUR / 2, HOUR) is None
    assert snapshots.take(warehouse, NOON + HOUR, HOUR) is not None
    assert snapshots.take(warehouse, NOON + 2 * HOUR, HOUR) is None  # nothing was written
    for hours in (3, 4, 5):
        write(warehouse, str(hours))
        assert snapshots.take(warehouse, NOON + hours * HOUR, HOUR) is not None
    kept = [snapshot.taken_at for snapshot in snapshots.snapshots(warehouse.directory)]
    assert kept == ["2026-03-01T17:00:00Z", "2026-03-01T16:00:00Z"]


def test_a_damaged_snapshot_is_passed_over(warehouse: Warehouse):
    snapshots.take(warehouse, NOON, HOUR)
    write(warehouse, "2")
    newer = snapshots.take(warehouse, NOON + HOUR, HOUR)
    assert newer is not None
    file = warehouse.directory / "snapshots" / newer.name / "warehouse.duckdb"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert snapshots.put_back(warehouse.directory, NOON).taken_at == "2026-03-01T12:00:00Z"
    assert owners(warehouse.directory) == ["1"]
    with pytest.raises(ConfigurationError, match=newer.name):
        snapshots.put_back(warehouse.directory, NOON, newer.name)


def test_of_a_warehouse_that_has_read_nothing_none_is_taken(tmp_path: Path):
    """One that was lost and begun anew would have the newest snapshot, and the worst."""
    empty = Warehouse(tmp_path)
    write(empty, "1")
    assert snapshots.take(empty, NOON, HOUR) is None
    with empty.session() as session:
        session.state.portal_id = "7"
    assert snapshots.take(empty, NOON, HOUR) is not None


def test_a_snapshot_whose_manifest_cannot_be_read_is_named(warehouse: Warehouse):
    snapshots.take(warehouse, NOON, HOUR)
    (made,) = snapshots.snapshots(warehouse.directory)
    (warehouse.directory / "snapshots" / made.name / "snapshot.json").write_text("{", encoding="utf-8")
    assert snapshots.snapshots(warehouse.directory) == []
    with pytest.raises(ConfigurationError, match=made.name):
        snapshots.put_back(warehouse.directory, NOON)


def test_of_a_damaged_warehouse_no_snapshot_is_taken(warehouse: Warehouse):
    with warehouse.session() as session, session.transaction():
        ids = [str(n) for n in range(20_000)]
        session["raw.owner"].upsert(
            pl.DataFrame({"id": ids, "email": [f"{n}@x.example" for n in ids], "archived": True})
        )
    with warehouse.exclusive() as engine:
        engine.execute("CHECKPOINT warehouse")
    content = bytearray(warehouse.path.read_bytes())
    place = content.find(b"9@x.example")  # inside a row's block, not in what opening the file reads
    content[place] ^= 1
    warehouse.path.write_bytes(content)
    with pytest.raises(WarehouseDamaged, match="crm-attribution restore"):
        snapshots.take(Warehouse(warehouse.directory), NOON, HOUR)
    assert snapshots.snapshots(warehouse.directory) == []


def test_a_snapshot_that_died_half_way_is_not_one(warehouse: Warehouse):
    half = warehouse.directory / "snapshots" / ".half"
    half.mkdir(parents=True)
    (half / "warehouse.duckdb").write_bytes(b"half")
    with pytest.raises(ConfigurationError, match="there are: none"):
        snapshots.put_back(warehouse.directory, NOON)
    assert snapshots.take(warehouse, NOON, HOUR) is not None
    assert not half.exists()


def test_an_erasure_leaves_no_snapshot(warehouse: Warehouse):
    snapshots.take(warehouse, NOON, HOUR)
    snapshots.put_back(warehouse.directory, NOON)
    assert snapshots.forget(warehouse.directory) == 2
    assert [path for name in ("snapshots", "damaged") for path in (warehouse.directory / name).iterdir()] == []
