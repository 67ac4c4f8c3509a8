"""A database file is written anew: nothing deleted is left in it, and a crash leaves the old file or the new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crm_attribution.errors import ContractViolation, WarehouseBusy
from crm_attribution.marts.publish import STORAGE_VERSION_1_0, read_storage_version
from crm_attribution.warehouse.connection import Warehouse, fresh_path
from crm_attribution.warehouse.rewrite import rewrite_marts, rewrite_warehouse
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import new_warehouse

pytestmark = pytest.mark.warehouse

SECRET = "somebody.who.was.here@example.com"
POINTS = ["attached", "copied", "finished", "closed", "synced", "renamed"]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Both files hold a row that was deleted."""
    made = new_warehouse(tmp_path)
    made._engine().execute("SET GLOBAL force_compression = 'uncompressed'")
    with made.session() as session:
        for name in ("warehouse.meta.fact", "marts_file.marts.fact"):
            session.connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (name VARCHAR, value VARCHAR)")
            session.connection.execute(f"COMMENT ON TABLE {name} IS 'facts'")
            session.connection.execute(f"INSERT INTO {name} VALUES ('who', '{SECRET}'), ('what', 'kept')")
        session.journal.add("contacts", ["1", "2", "3"])
        session.connection.execute("CHECKPOINT warehouse").fetchall()
        session.connection.execute("CHECKPOINT marts_file").fetchall()
        for name in ("warehouse.meta.fact", "marts_file.marts.fact"):
            session.connection.execute(f"DELETE FROM {name} WHERE name = 'who'")
    assert [holds(path) for path in (made.path, made.marts_path)] == [True, True]
    return made


def holds(path: Path) -> bool:
    return SECRET.encode() in path.read_bytes()


def described(session: Session) -> list[object]:
    """Structure, comments and constraints of both files."""
    found: list[object] = []
    for view in ("tables", "columns", "constraints"):
        names = {"tables": "estimated_size", "columns": "", "constraints": ""}[view]
        drop = ", ".join(filter(None, ["database_oid", "schema_oid", "table_oid", names]))
        sql = f"SELECT * EXCLUDE ({drop}) FROM duckdb_{view}() WHERE database_name IN ('warehouse', 'marts_file')"
        found += sorted(session.connection.execute(sql).fetchall(), key=repr)
    return found


def kept(warehouse: Warehouse) -> list[str | None]:
    with Warehouse(warehouse.directory).session() as session:
        marts = session.scalar("SELECT value FROM marts_file.marts.fact")
        return [session.state.text("what"), marts, session.state.text("done")]


def test_deleted_bytes_are_gone_and_all_else_is_as_it_was(warehouse: Warehouse) -> None:
    with warehouse.session() as session:
        before, sequence = described(session), session.scalar("SELECT nextval('meta.change_seq')")
    sizes = {path: path.stat().st_size for path in (warehouse.marts_path, warehouse.path)}
    done = [rewrite_marts(warehouse), rewrite_warehouse(warehouse, lambda fresh: fresh.state.store("done", "yes"))]
    assert [holds(path) for path in (warehouse.path, warehouse.marts_path)] == [False, False]
    with warehouse.session() as session:
        assert described(session) == before
        assert session.scalar("SELECT nextval('meta.change_seq')") == sequence + 1  # the journal's numbers go on
    assert kept(warehouse) == ["kept", "kept", "yes"]
    assert read_storage_version(warehouse.marts_path) == STORAGE_VERSION_1_0
    assert [(one.file, one.bytes_before) for one in done] == [(path.name, size) for path, size in sizes.items()]
    assert sorted(path.name for path in warehouse.directory.glob("*.duckdb*")) == ["marts.duckdb", "warehouse.duckdb"]


def die_at(point: str) -> Callable[[str], None]:
    def at(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


@pytest.mark.crash
@pytest.mark.parametrize(
    ("which", "point"), [*(("warehouse", point) for point in POINTS), ("marts", "copied"), ("marts", "renamed")]
)
def test_killed_anywhere_it_leaves_the_old_file_or_the_new(warehouse: Warehouse, which: str, point: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            mine = Warehouse(warehouse.directory)
            if which == "marts":
                rewrite_marts(mine, at=die_at(point))
            else:
                rewrite_warehouse(mine, lambda fresh: fresh.state.store("done", "yes"), at=die_at(point))
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    path = warehouse.marts_path if which == "marts" else warehouse.path
    new = point == "renamed"
    assert kept(warehouse) == ["kept", "kept", "yes" if new and which == "warehouse" else None]
    assert holds(path) is not new
    assert not list(warehouse.directory.glob("*.rewriting*"))  # opening it has cleaned up
    rewrite_marts(warehouse)
    rewrite_warehouse(warehouse)
    assert not holds(path)


def test_a_copy_that_lost_a_row_is_not_put_in_place(warehouse: Warehouse) -> None:
    def lose(point: str) -> None:
        if point == "copied":
            warehouse._engine().execute("DELETE FROM rewritten.meta.fact")

    with pytest.raises(ContractViolation, match=r"meta\.fact"):
        rewrite_warehouse(warehouse, at=lose)
    assert holds(warehouse.path)
    assert kept(warehouse)[0] == "kept"


def test_what_finish_cannot_write_leaves_the_file_as_it_was(warehouse: Warehouse) -> None:
    def fail(_: Session) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        rewrite_warehouse(warehouse, fail)
    assert kept(warehouse) == ["kept", "kept", None]


def test_it_does_not_begin_inside_a_session(warehouse: Warehouse) -> None:
    with warehouse.session(), pytest.raises(WarehouseBusy, match="session"):
        rewrite_marts(warehouse)


def test_the_lock_of_the_old_file_is_held_until_the_new_one_stands(warehouse: Warehouse) -> None:
    """Nobody can write to the file between its copy and the renaming."""
    seen: list[str] = []

    def look(point: str) -> None:
        if point == "synced":
            command = [sys.executable, "-c", "import duckdb, sys; duckdb.connect(sys.argv[1])", str(warehouse.path)]
            seen.append(subprocess.run(command, capture_output=True, text=True).stderr)

    rewrite_warehouse(warehouse, at=look)
    assert "Conflicting lock" in seen[0]
    assert not fresh_path(warehouse.path).exists()


def test_every_point_is_one_it_passes(warehouse: Warehouse) -> None:
    passed: list[str] = []
    rewrite_warehouse(warehouse, at=passed.append)
    assert passed == POINTS
