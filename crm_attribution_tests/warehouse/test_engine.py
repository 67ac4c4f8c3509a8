"""Engines keep to themselves, a commit is proven, and damage ends the process instead of spreading."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from crm_attribution.errors import CommitLost, WarehouseDamaged
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.engine import clear_spill, damage, default_memory, open_engine
from crm_attribution.warehouse.migrations import no_indexes
from crm_attribution.warehouse.session import Session

pytestmark = pytest.mark.warehouse

LARGE = "SELECT range AS k, md5(range::VARCHAR) AS h, repeat('x', 40) || range AS s FROM range(600000)"
"""Some 60 MB of rows."""
OWNER = pl.DataFrame({"id": ["1"], "email": ["a@x.example"], "archived": [False]})


def _owners(directory: Path) -> list[str]:
    with Warehouse(directory).session() as session:
        return session.read("raw.owner")["id"].to_list()


def test_an_engine_spills_into_a_new_folder_of_its_own_that_goes_with_it(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    one, two = open_engine(data, "40MB"), open_engine(data, "40MB")
    folders = sorted((data / "spill").iterdir())
    assert len(folders) == 2
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    one.execute(f"CREATE TABLE t AS {LARGE}")
    spilled = [folder for folder in folders if any(folder.iterdir())]
    assert len(spilled) == 1
    assert one.execute("SELECT count(*) FROM t WHERE h = md5(k::VARCHAR)").fetchall() == [(600_000,)]
    del one
    gc.collect()
    assert not spilled[0].exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]  # no .tmp in the working directory
    two.close()


def test_the_memory_limit_is_explicit_and_leaves_room(tmp_path: Path):
    setting = "SELECT current_setting('memory_limit')"
    assert open_engine(tmp_path, "700MB").execute(setting).fetchall() == [("667.5 MiB",)]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert default_memory() <= max(machine // 2, 512 * 2**20)


def test_what_a_dead_process_spilled_is_cleared_and_what_a_living_one_uses_is_not(tmp_path: Path):
    living = open_engine(tmp_path)
    code = (
        "import os, sys; from pathlib import Path; from crm_attribution.warehouse.engine import open_engine;"
        " e = open_engine(Path(sys.argv[1])); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list((tmp_path / "spill").iterdir())) == 2
    assert len(clear_spill(tmp_path)) == 1
    assert len(list((tmp_path / "spill").iterdir())) == 1
    assert clear_spill(tmp_path) == []
    living.close()


def test_the_warehouse_has_no_indexes(tmp_path: Path):
    with Warehouse(tmp_path).session() as session:
        kinds = session.query("SELECT DISTINCT constraint_type AS k FROM duckdb_constraints()")["k"].to_list()
        assert kinds == ["NOT NULL"]
        assert session.scalar("SELECT count(*) FROM duckdb_indexes()") == 0
        for value in ("one", "two"):
            session.state.store("name", value)
        assert session.query("SELECT value FROM meta.fact WHERE name = 'name'")["value"].to_list() == ["two"]


def test_an_older_warehouse_loses_its_indexes_and_nothing_else(tmp_path: Path):
    with Warehouse(tmp_path).session() as session:
        session.change("DROP TABLE meta.commit_marker")
        for name, columns in (
            ("change", "seq BIGINT NOT NULL, topic VARCHAR NOT NULL, key VARCHAR NOT NULL"),
            ("fact", "name VARCHAR NOT NULL PRIMARY KEY, value VARCHAR NOT NULL"),
            ("cursor", "consumer VARCHAR NOT NULL PRIMARY KEY, seq BIGINT NOT NULL, signature VARCHAR NOT NULL"),
        ):
            session.change(f"CREATE OR REPLACE TABLE meta.{name} ({columns})")
        session.change("INSERT INTO meta.fact VALUES ('portal_id', '7')")
        session.change("INSERT INTO meta.cursor VALUES ('a_later_step', 3, 's')")
        no_indexes(session.connection)
    with Warehouse(tmp_path).session() as session:
        assert session.scalar("SELECT count(*) FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'") == 0
        assert session.state.text("portal_id") == "7"
        assert session.query("FROM meta.cursor").rows() == [("a_later_step", 3, "s")]
        with session.transaction():
            session["raw.owner"].upsert(OWNER)
    assert _owners(tmp_path) == ["1"]


# --- commits


def test_an_error_swallowed_inside_a_transaction_is_not_a_commit(tmp_path: Path):
    """DuckDB 2 returns from the COMMIT of such a transaction without an error."""

    def swallowing(session: Session) -> None:
        with session.transaction():
            session["raw.owner"].upsert(OWNER)
            with contextlib.suppress(duckdb.BinderException):
                session.change("SELECT nothing FROM raw.owner")

    with Warehouse(tmp_path).session() as session:
        with pytest.raises(duckdb.TransactionException, match="aborted"):
            swallowing(session)
        assert session.read("raw.owner").is_empty()


class _Forgetful:
    """A connection whose COMMIT keeps nothing."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, sql: str, *parameters: object) -> object:
        return self._connection.execute("ROLLBACK" if sql == "COMMIT" else sql, *parameters)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def test_a_commit_that_kept_nothing_is_noticed(tmp_path: Path):
    with Warehouse(tmp_path).session() as session:
        forgetful = Session(_Forgetful(session.connection))  # type: ignore[arg-type]
        with pytest.raises(CommitLost, match="nothing of this step is stored"), forgetful.transaction():
            forgetful["raw.owner"].upsert(OWNER)
        assert session.read("raw.owner").is_empty()


# --- damage


def test_after_damage_the_process_writes_nothing_more_and_the_next_goes_on(tmp_path: Path):
    warehouse = Warehouse(tmp_path)
    with warehouse.session() as session, session.transaction():
        session["raw.owner"].upsert(OWNER)
    before = warehouse.path.stat()

    def break_down() -> None:
        with warehouse.session() as session:
            with session.transaction():
                session["raw.owner"].upsert(OWNER.with_columns(id=pl.lit("2")))
            raise duckdb.InternalException("INTERNAL Error: what is in memory is wrong")

    with pytest.raises(WarehouseDamaged, match="crm-attribution restore"):
        break_down()
    with pytest.raises(WarehouseDamaged), warehouse.session():
        pass
    with pytest.raises(WarehouseDamaged), Warehouse(tmp_path).session():  # nor by another way in the same process
        pass
    assert warehouse.path.stat().st_mtime_ns == before.st_mtime_ns  # not checkpointed
    code = (
        "import sys; from pathlib import Path; from crm_attribution.warehouse.connection import Warehouse\n"
        "with Warehouse(Path(sys.argv[1]), 60).session() as s: print(*s.read('raw.owner')['id'].sort())"
    )
    warehouse._engines.clear()
    gc.collect()
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "2"]


@pytest.mark.parametrize("name", ["warehouse.duckdb", "marts.duckdb"])
@pytest.mark.parametrize("how", ["a flipped bit", "cut off", "text"])
def test_the_file_that_is_damaged_is_named(tmp_path: Path, name: str, how: str):
    with Warehouse(tmp_path).session() as session:
        session.change("CREATE TABLE marts.numbers AS SELECT range AS n FROM range(1000)")
        with session.transaction():
            session["raw.owner"].upsert(OWNER)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    for place in range(3 * 4096, len(content), 4096):
        content[place + 100] ^= 1
    broken = {"a flipped bit": bytes(content), "cut off": bytes(content[: 6 * 4096]), "text": b"no database " * 999}
    path.write_bytes(broken[how])
    with pytest.raises(WarehouseDamaged, match=rf"^{re.escape(str(path))}: .*damaged"):
        _read(tmp_path)


def _read(folder: Path) -> None:
    with Warehouse(folder).session() as session:
        session.query("SELECT sum(n) FROM marts.numbers")
        session.read("raw.owner")


@pytest.mark.parametrize(
    ("error", "is_damage"),
    [
        (duckdb.IOException("IO Error: Corrupt database file: computed checksum 1 does not match"), True),
        (duckdb.FatalException("FATAL Error: database has been invalidated because of a previous fatal error"), True),
        (duckdb.IOException("IO Error: Could not write file: No space left on device"), False),
        (duckdb.ConversionException("Could not convert string 'corrupt@x.example' to INT32"), False),
        (duckdb.ConstraintException("Duplicate key 'checksum' violates"), False),
        (ValueError("corrupt"), False),
    ],
)
def test_only_what_speaks_of_the_file_or_memory_is_damage(error: Exception, is_damage: bool):
    assert (damage(error) is not None) == is_damage
    wrapped = RuntimeError("while reading")
    wrapped.__cause__ = error
    assert (damage(wrapped) is not None) == is_damage
