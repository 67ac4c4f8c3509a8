"""Publishing: readers never wait and never see half a file; data tests come first; only changes are copied."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from crm_attribution.errors import ConfigurationError, ContractViolation, Retryable, Terminal
from crm_attribution.marts import publish as module
from crm_attribution.marts.about import Origin
from crm_attribution.marts.copies import folder_of
from crm_attribution.marts.models import SqlTest
from crm_attribution.marts.publish import Publication, manifest_path, publish, read_manifest, read_storage_version
from crm_attribution.warehouse.files import copy_file

pytestmark = pytest.mark.warehouse

HOUR = datetime(2026, 1, 1, 12, tzinfo=UTC)
POSITIVE = SqlTest("positive", "SELECT * FROM marts.funnel WHERE n < 0", Path("funnel.sql"), "marts.funnel", "n >= 0")
ODD = "[1, NULL] AS l, {'x': 1} AS s, '{}'::JSON AS j, MAP {'m': 1} AS m, NULL::DATE AS d, 1.5::DOUBLE AS f"

COLUMNS = 4 + 8 + 1 + 7 + 5
"""Rows of marts.data_dictionary: the tables, and the columns of funnel, empty, about and data_dictionary."""
OF = Origin("1", "Europe/Berlin", "EUR", "m1", "0.1")

Publish = Callable[..., Publication]


def open_writer(folder: Path, storage: str = "(STORAGE_VERSION 'v1.0.0')") -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(folder / "warehouse.duckdb")
    connection.execute(f"ATTACH '{folder / 'marts.duckdb'}' AS marts_file {storage}")
    connection.execute("CREATE SCHEMA IF NOT EXISTS marts_file.marts")
    connection.execute("SET search_path = 'warehouse.main,marts_file.marts'")
    return connection


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    opened = open_writer(tmp_path)
    opened.execute(f"CREATE TABLE marts.funnel AS SELECT i AS n, 'c' || i AS channel, {ODD} FROM range(10) r(i)")
    opened.execute("CREATE TABLE marts.empty (a INTEGER)")
    opened.execute("COMMENT ON TABLE marts.funnel IS 'One row per step.'")
    opened.execute("COMMENT ON COLUMN marts.funnel.n IS 'how many'")
    yield opened
    opened.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "finance.duckdb"


@pytest.fixture
def go(connection: duckdb.DuckDBPyConnection, tmp_path: Path, target: Path) -> Publish:
    def publish_now(hour: float = 0, tests: tuple[SqlTest, ...] = (POSITIVE,), **more: Any) -> Publication:
        moment = HOUR + timedelta(hours=hour)
        return publish(
            connection,
            marts_path=tmp_path / "marts.duckdb",
            target=target,
            as_of=moment,
            tests=tests,
            now=moment + timedelta(minutes=5),
            **{"of": OF, **more},
        )

    return publish_now


def numbers(path: Path) -> list[int]:
    with duckdb.connect(path, read_only=True) as reader:
        return [n for (n,) in reader.execute("SELECT n FROM marts.funnel ORDER BY n").fetchall()]


def test_the_published_file_answers_under_any_name_and_is_described(go, target, tmp_path):
    done = go()
    assert (done.published, done.reason) == (True, "there is no published file")
    assert done.rows == {"marts.about": 1, "marts.data_dictionary": COLUMNS, "marts.empty": 0, "marts.funnel": 10}
    with duckdb.connect(target, read_only=True) as reader:
        assert len(reader.execute("SELECT * FROM marts.funnel").fetchall()) == 10
        assert reader.execute("SELECT comment FROM duckdb_tables() WHERE table_name = 'funnel'").fetchall() == [
            ("One row per step.",)
        ]
        assert reader.execute("SELECT comment FROM duckdb_columns() WHERE column_name = 'n'").fetchall() == [
            ("how many",)
        ]
    with duckdb.connect() as reader:
        reader.execute(f"ATTACH '{target}' AS another (READ_ONLY)")
        assert len(reader.execute("SELECT * FROM another.marts.funnel").fetchall()) == 10


def test_the_manifest_describes_the_file(go, target):
    done = go()
    manifest = json.loads(target.with_name("finance.manifest.json").read_text())
    assert manifest["file"] == "finance.duckdb"
    assert manifest["snapshot_id"] == done.snapshot_id
    assert manifest["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert manifest["bytes"] == done.bytes == target.stat().st_size
    assert manifest["rows"] == done.rows
    assert (manifest["as_of"], manifest["published_at"]) == ("2026-01-01T12:00:00Z", "2026-01-01T12:05:00Z")
    assert manifest["storage_version"] == read_storage_version(target) == 64
    assert target.stat().st_mode & 0o777 == 0o400


def test_the_file_says_what_it_is_and_what_its_columns_mean(go, target, connection):
    done = go()
    with duckdb.connect(target, read_only=True) as reader:
        about = reader.execute("FROM marts.about").fetchall()
        told = reader.execute(
            "SELECT table_name, position, data_type, description FROM marts.data_dictionary"
        ).fetchall()
        nameless = reader.execute(
            "SELECT count(*) FROM duckdb_columns() WHERE comment IS NULL AND table_name IN ('about', 'data_dictionary')"
        ).fetchall()
    assert about == [(HOUR.replace(tzinfo=None), done.snapshot_id, "1", "Europe/Berlin", "EUR", "m1", "0.1")]
    assert {("funnel", 0, None, "One row per step."), ("funnel", 1, "BIGINT", "how many")} < set(told)
    assert nameless == [(0,)]
    assert go(hour=1).published is False, "the hour alone is no change"
    assert go(hour=2, of=replace(OF, mapping_version="m2")).published


def copies(target: Path) -> dict[str, Any]:
    """Snapshot folder -> its files."""
    root = folder_of(target)
    return {path.name: sorted(p.name for p in path.iterdir()) for path in root.iterdir() if not path.is_symlink()}


def test_every_mart_is_a_parquet_file_of_the_same_snapshot(go, target, connection):
    done = go(mode=0o440)
    current = folder_of(target) / "current"
    marts = ("about", "data_dictionary", "empty", "funnel")
    names = sorted(["finance.duckdb", "finance.manifest.json", *(f"{mart}.parquet" for mart in marts)])
    assert copies(target) == {current.resolve().name: names}
    assert (current / "finance.duckdb").samefile(target)
    assert read_manifest(current / "finance.duckdb") == read_manifest(target)
    assert {path.stat().st_mode & 0o777 for path in current.glob("*.parquet")} == {0o440}
    assert (current.stat().st_mode & 0o777, folder_of(target).stat().st_mode & 0o777) == (0o750, 0o750)
    with duckdb.connect(target, read_only=True) as reader:
        for mart in marts:
            same = f"(FROM marts.{mart}) EXCEPT ALL (FROM '{current}/{mart}.parquet')"
            assert reader.execute(f"SELECT count(*) FROM ({same})").fetchall() == [(0,)], mart
    empty = (current / "empty.parquet").stat().st_ino
    connection.execute("UPDATE marts.funnel SET n = n + 1")
    assert go(hour=1, mode=0o440).snapshot_id != done.snapshot_id
    assert len(copies(target)) == 2
    assert (current / "empty.parquet").stat().st_ino == empty, "what did not change is not written again"
    go(hour=2, mode=0o440)
    assert read_manifest(current / "finance.duckdb") == read_manifest(target), "with the hour up to which it holds"


def test_copies_that_were_lost_or_left_half_are_made_again(go, target):
    go()
    root = folder_of(target)
    (root / "current").unlink()
    half = root / f".x.{2**22 + 1}.tmp"
    half.mkdir()
    assert go().published is False
    assert (root / "current" / "funnel.parquet").exists()
    assert not half.exists()


def test_the_last_file_of_each_day_is_kept_until_it_is_too_old(go, target, connection):
    published = []
    for hour in (0, 5, 11, 12, 40, 41, 88):
        connection.execute(f"UPDATE marts.funnel SET n = {hour}")
        go(hour=hour, days=2, tests=())
        published.append((folder_of(target) / "current").resolve().name)
    assert set(copies(target)) == {published[5], published[6]}, (
        "hours 0 to 12 are older than two days, 40 is not the last"
    )
    connection.execute("UPDATE marts.funnel SET n = 1")
    go(hour=89, days=2, rewrite=True)
    assert len(copies(target)) == 1, "what was erased is in no older file"


def test_nothing_is_copied_without_a_change_and_the_hour_moves_on(go, target, connection):
    first = go()
    inode = target.stat().st_ino
    second = go(hour=1)
    assert (second.published, second.reason) == (False, "the marts have not changed")
    assert (second.snapshot_id, second.rows, second.bytes) == (first.snapshot_id, first.rows, first.bytes)
    assert target.stat().st_ino == inode
    manifest = read_manifest(target)
    assert manifest is not None
    assert (manifest.as_of, manifest.published_at) == ("2026-01-01T13:00:00Z", "2026-01-01T12:05:00Z")

    connection.execute("CREATE TEMP TABLE saved AS FROM marts.funnel ORDER BY n DESC; DELETE FROM marts.funnel")
    connection.execute("INSERT INTO marts.funnel FROM saved")
    assert go().published is False  # the file was rewritten, its content is what it was


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda target: target.unlink(), "there is no published file"),
        (lambda target: manifest_path(target).unlink(), "there is no manifest"),
        (lambda target: manifest_path(target).write_text('{"file": '), "there is no manifest"),
        (lambda target: manifest_path(target).write_text("{}"), "there is no manifest"),
        (lambda target: os.utime(target), "the published file is not the one of the manifest"),
    ],
)
def test_what_was_lost_is_published_again(go, target, harm, reason):
    first = go()
    harm(target)
    again = go()
    assert (again.published, again.reason, again.snapshot_id) == (True, reason, first.snapshot_id)
    assert go().published is False


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE marts.funnel SET n = 100 WHERE n = 9",
        "UPDATE marts.funnel SET channel = 'c' || (1 - n) WHERE n < 2",  # two rows exchange a value
        "INSERT INTO marts.funnel FROM marts.funnel",
        "DELETE FROM marts.funnel",
        "UPDATE marts.funnel SET l = [NULL, 1]",
        "UPDATE marts.funnel SET d = '2026-01-01'",
        "CREATE TABLE marts.more (a INTEGER)",
        "DROP TABLE marts.empty",
        "ALTER TABLE marts.empty ALTER a TYPE BIGINT",
        "ALTER TABLE marts.empty ALTER a SET NOT NULL",
        "ALTER TABLE marts.empty RENAME a TO b",
        "COMMENT ON TABLE marts.funnel IS 'Another.'",
        "COMMENT ON COLUMN marts.funnel.n IS NULL",
    ],
)
def test_every_change_is_published(go, connection, change):
    first = go()
    connection.execute(change)
    second = go()
    assert (second.published, second.reason) == (True, "the marts have changed")
    assert second.snapshot_id != first.snapshot_id


def test_a_broken_law_keeps_the_last_file(go, target, connection):
    go()
    connection.execute("UPDATE marts.funnel SET n = -n - 1")
    other = replace(POSITIVE, name="few", sql="FROM marts.funnel")
    fine = replace(POSITIVE, name="fine", sql="FROM marts.empty")
    with pytest.raises(Terminal) as refusal:
        go(hour=1, tests=(POSITIVE, fine, other))
    assert "2 of 3 data tests" in str(refusal.value)
    assert "marts.funnel positive (10 bad rows; funnel.sql)" in str(refusal.value)
    assert "fine" not in str(refusal.value)
    assert numbers(target) == list(range(10))
    manifest = read_manifest(target)
    assert manifest is not None
    assert manifest.as_of == "2026-01-01T12:00:00Z"


def test_a_wal_beside_the_target_is_refused(go, target, connection):
    go()
    connection.execute("DELETE FROM marts.funnel")
    wal = target.with_name("finance.duckdb.wal")
    wal.write_bytes(b"x")
    with pytest.raises(Terminal, match="read_only=True"):
        go()
    wal.unlink()
    assert numbers(target) == list(range(10))
    assert go().published


@pytest.mark.parametrize(
    ("make", "named"),
    [
        ("CREATE TABLE marts_file.main.person (email VARCHAR)", "main.person"),
        ("CREATE SCHEMA marts_file.raw; CREATE TABLE marts_file.raw.contact (a INTEGER)", "raw.contact"),
        ("CREATE VIEW marts_file.marts.v AS SELECT 1 AS a", "view marts.v"),
        ("CREATE MACRO marts_file.marts.m(a) AS a + 1", "macro marts.m"),
    ],
)
def test_only_tables_of_the_marts_schema_are_published(go, target, connection, make, named):
    connection.execute(make)
    with pytest.raises(ContractViolation, match=named):
        go()
    assert not target.exists()


def test_a_file_no_older_client_can_open_is_refused(tmp_path, target):
    with open_writer(tmp_path, storage="") as connection:
        connection.execute("CREATE TABLE marts.t (a INTEGER)")
        with pytest.raises(ConfigurationError, match=r"v1\.0\.0"):
            publish(connection, marts_path=tmp_path / "marts.duckdb", target=target, as_of=HOUR, tests=(), now=HOUR)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marts.duckdb", "warehouse.duckdb"]


def test_a_connection_without_the_marts_is_refused(tmp_path, target):
    with duckdb.connect() as connection, pytest.raises(ConfigurationError, match="not attached"):
        publish(connection, marts_path=tmp_path / "marts.duckdb", target=target, as_of=HOUR, tests=(), now=HOUR)


def test_publishing_does_not_lose_the_writers_lock(go, connection, tmp_path):
    """Closing any descriptor of a locked file frees a POSIX lock: the copy must not be made in this process."""
    go()
    connection.execute("DELETE FROM marts.funnel")
    assert go().published
    for name in ("marts.duckdb", "warehouse.duckdb"):
        intruder = subprocess.run(
            [sys.executable, "-c", f"import duckdb; duckdb.connect({str(tmp_path / name)!r})"],
            capture_output=True,
            text=True,
        )
        assert "Could not set lock" in intruder.stderr


def test_a_write_during_the_copy_is_noticed(go, target, connection, monkeypatch):
    go()
    connection.execute("DELETE FROM marts.funnel WHERE n = 0")

    def copy_and_write(source: Path, to: Path) -> str:
        connection.execute("DELETE FROM marts.funnel WHERE n = 1")
        return copy_file(source, to)

    monkeypatch.setattr(module, "copy_file", copy_and_write)
    with pytest.raises(Retryable, match=r"marts\.duckdb"):
        go()
    monkeypatch.undo()
    assert numbers(target) == list(range(10))
    assert go().published
    assert numbers(target) == list(range(2, 10))


def test_an_open_transaction_elsewhere_is_never_published(go, target, connection):
    assert go().published
    with connection.cursor() as other:
        other.execute("BEGIN; INSERT INTO marts_file.marts.funnel FROM marts_file.marts.funnel")
        assert not go().published
        assert numbers(target) == list(range(10))
        other.execute("ROLLBACK; BEGIN; UPDATE marts_file.marts.funnel SET n = 5")
        with pytest.raises(Retryable, match="publish again"):
            go()
        other.execute("COMMIT")
    assert go().published
    assert numbers(target) == [5] * 10


def test_inside_a_transaction_nothing_is_published(go, target, connection):
    connection.execute("BEGIN; UPDATE marts.funnel SET n = 5")
    with pytest.raises(Retryable, match="publish again"):
        go()
    connection.execute("ROLLBACK")
    assert not target.exists()


def test_a_copy_that_cannot_be_made_is_explained(go, target, monkeypatch):
    monkeypatch.setattr(module, "temporary_path", lambda path: path.with_name("no folder") / "x")
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    with pytest.raises(Terminal, match="No such file or directory"):
        go()
    assert not target.exists()


def test_leftovers_of_dead_publications_are_removed(go, tmp_path):
    dead = 2**22 + 1
    leftovers = [f".finance.duckdb.{dead}.tmp", f".finance.manifest.json.{dead}.tmp", ".finance.duckdb.x.tmp"]
    alive = f".finance.duckdb.{os.getppid()}.tmp"
    for name in (*leftovers, alive):
        (tmp_path / name).write_bytes(b"x")
    go()
    names = {path.name for path in tmp_path.iterdir()}
    assert not names & set(leftovers)
    assert alive in names


CRASH = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
sys.path.insert(0, {tests!r})
from crm_attribution_tests.marts.test_publish import HOUR, open_writer
from crm_attribution.marts import publish as module
from crm_attribution.marts.about import Origin
from crm_attribution.marts.copies import folder_of
folder = Path({folder!r})
connection = open_writer(folder)
connection.execute("UPDATE marts.funnel SET n = n + 100")
{arm}
target = folder / "finance.duckdb"
module.publish(connection, marts_path=folder / "marts.duckdb", target=target, as_of=HOUR, tests=(), now=HOUR)
"""
KILL = "lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.crash
@pytest.mark.parametrize(
    ("arm", "left"),
    [
        (f"module.put_in_place = {KILL}", "old"),
        (f"module.copy_file = {KILL}", "old"),
        (f"module.write_manifest = {KILL}", "new"),
    ],
    ids=["before the rename", "before the copy", "between file and manifest"],
)
def test_a_killed_publication_leaves_a_whole_file(go, connection, target, tmp_path, arm, left):
    go()
    connection.close()
    root = str(Path(__file__).parents[2])
    script = CRASH.format(tests=root, folder=str(tmp_path), arm=arm)
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert died.returncode == -9, died.stderr
    assert numbers(target) == list(range(100, 110) if left == "new" else range(10))

    with open_writer(tmp_path) as again:
        done = publish(
            again, marts_path=tmp_path / "marts.duckdb", target=target, as_of=HOUR, tests=(POSITIVE,), now=HOUR
        )
    assert done.published
    assert numbers(target) == list(range(100, 110))
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


READER = """
import os, sys, duckdb
os.nice(19)
path, stop, keep = sys.argv[1], sys.argv[2], sys.argv[3] == "keep"
question = "SELECT min(n), max(n), count(*), (SELECT snapshot_id FROM marts.about) FROM marts.funnel"
reader = duckdb.connect(path, read_only=True)
answers, snapshots = [], {}
told = open(f"{stop}.{os.getpid()}", "ab", buffering=0)
print("reading", flush=True)
while not os.path.exists(stop):
    ((low, high, count, snapshot),) = reader.execute(question).fetchall()
    assert (low, count) == (high, 10), (low, high, count)
    assert snapshots.setdefault(snapshot, low) == low
    answers.append(low)
    told.write(b".")
    if not keep:
        reader.close()
        reader = duckdb.connect(path, read_only=True)
assert answers == sorted(answers)
print(len(answers), len(snapshots), flush=True)
"""
PARQUET_READER = """
import os, sys, duckdb
os.nice(19)
path, stop = sys.argv[1], sys.argv[2]
answers, snapshots = [], {}
told = open(f"{stop}.{os.getpid()}", "ab", buffering=0)
print("reading", flush=True)
while not os.path.exists(stop):
    folder = os.path.realpath(path)
    funnel, about = f"{folder}/funnel.parquet", f"{folder}/about.parquet"
    rows = f"SELECT min(n), max(n), count(*), (SELECT snapshot_id FROM '{about}') FROM '{funnel}'"
    ((low, high, count, snapshot),) = duckdb.sql(rows).fetchall()
    assert (low, count) == (high, 10), (low, high, count)
    assert snapshots.setdefault(snapshot, low) == low
    answers.append(low)
    told.write(b".")
assert answers == sorted(answers)
print(len(answers), len(snapshots), flush=True)
"""


def each_reads_on(told: Sequence[Path]) -> None:
    """Wait until every reader has had one more answer."""
    before = [file.stat().st_size for file in told]
    until = time.monotonic() + 60
    while any(file.stat().st_size == size for file, size in zip(told, before, strict=True)):
        assert time.monotonic() < until, "a reader has stopped"
        time.sleep(0.005)


@pytest.mark.slow
def test_fifty_publications_while_four_readers_query_without_pause(go, connection, target, tmp_path):
    """Nobody sees an error, or rows of two snapshots; who keeps a file open keeps its snapshot."""
    connection.execute("UPDATE marts.funnel SET n = 0")
    go(tests=())
    stop = tmp_path / "stop"
    current = folder_of(target) / "current"
    habits = [
        (READER, target, "keep"),
        (READER, target, "reopen"),
        (READER, target, "reopen"),
        (PARQUET_READER, current),
    ]
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(stop), *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for program, path, *more in habits
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
    for turn in range(1, 51):
        connection.execute(f"UPDATE marts.funnel SET n = {turn}")
        assert go(hour=turn / 10, tests=()).published  # who has followed `current` has two hours: twenty publications
        if turn % 2 == 0:  # on a busy machine readers may not come to read at all
            each_reads_on([stop.with_name(f"{stop.name}.{reader.pid}") for reader in readers])
    stop.touch()
    asked = []
    for reader in readers:
        output, errors = reader.communicate(timeout=60)
        assert reader.returncode == 0, errors
        asked.append([int(number) for number in output.split()])
    assert asked[0][1] == 1
    assert min(queries for queries, _ in asked) > 20
    assert min(snapshots for _, snapshots in asked[1:]) > 5
    assert numbers(target) == [50] * 10


def test_a_table_that_is_no_mart_is_dropped_and_not_published(
    go: Publish, connection: duckdb.DuckDBPyConnection, target: Path
) -> None:
    go(known=["funnel", "empty"])
    connection.execute("CREATE TABLE marts.evil AS SELECT 1 AS n")
    done = go(1, known=["funnel", "empty"])
    assert (done.dropped, done.published) == (("evil",), False), "without it nothing has changed"
    connection.execute("CREATE TABLE marts.evil AS SELECT 1 AS n")
    connection.execute("UPDATE marts.funnel SET n = n + 1")
    assert go(2, known=["funnel", "empty"]).published
    with duckdb.connect(str(target), read_only=True) as published:
        names = {name for (name,) in published.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert names == {"funnel", "empty", "about", "data_dictionary"}
