"""Snapshots of the writer's two files: taken between two runs, verified, and put back by `crm-attribution restore`.

    data/snapshots/20260312T140000Z/warehouse.duckdb, marts.duckdb, snapshot.json

A snapshot is whole or not there: it is written into a hidden folder and renamed when its copies have been opened and
read. The newest `KEEP` stay. They hold the same personal data as the warehouse: an erasure deletes them all.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from crm_attribution.clock import iso, parse_instant
from crm_attribution.errors import ConfigurationError
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.engine import damage, damaged, open_reader
from crm_attribution.warehouse.files import copy_file, private_folder, put_in_place, sha256, sync_folder
from crm_attribution.warehouse.identifiers import quote_identifier as q

FOLDER, DAMAGED, MANIFEST = "snapshots", "damaged", "snapshot.json"
KEEP = 2


@dataclass(frozen=True)
class Snapshot:
    """The content of `snapshot.json`.

    Attributes:
        taken_at: by the pipeline's clock, ISO 8601.
        newest_hour_ends: how far the warehouse had come; None before the first hour.
        files: name -> SHA-256 of the copy.
        source: name -> state of the file it was copied from; the same state needs no new snapshot.
    """

    taken_at: str
    newest_hour_ends: str | None
    files: dict[str, str]
    source: dict[str, str]

    @property
    def name(self) -> str:
        return f"{parse_instant(self.taken_at):%Y%m%dT%H%M%SZ}"


def take(warehouse: Warehouse, now: datetime, every: timedelta) -> Snapshot | None:
    """Take one if the newest is older than `every` and something was written since. The caller holds the run lock.

    Raises:
        WarehouseDamaged: when a copy cannot be read: what it was copied from is damaged.
        Terminal: when a copy cannot be made.
    """
    if not warehouse.path.exists():
        return None
    known = snapshots(warehouse.directory)
    if known and now - parse_instant(known[0].taken_at) < every:
        return None
    with warehouse.session() as session:
        watermark, portal = session.state.watermark, session.state.portal_id
    if watermark is None and portal is None:
        return None  # it has read nothing: of a warehouse that was lost and begun anew it would be the newest
    root = warehouse.directory / FOLDER
    with warehouse.exclusive() as engine:
        for name in ("warehouse", "marts_file"):
            engine.execute(f"CHECKPOINT {name}").fetchall()
        paths = (warehouse.path, warehouse.marts_path)
        source = {path.name: _state(path) for path in paths}
        if known and known[0].source == source:
            return None
        half = root / ".half"
        shutil.rmtree(half, ignore_errors=True)
        private_folder(half)
        files = {path.name: copy_file(path, half / path.name) for path in paths}
        for path in paths:
            _verify(half / path.name, path)
    hour = None if watermark is None else iso(watermark)
    made = Snapshot(iso(now), hour, files, source)
    (half / MANIFEST).write_text(json.dumps(asdict(made), indent=1), encoding="utf-8")
    sync_folder(half)
    shutil.rmtree(root / made.name, ignore_errors=True)
    put_in_place(half, root / made.name)
    for old in snapshots(warehouse.directory)[KEEP:]:
        shutil.rmtree(root / old.name)
    return made


def snapshots(data_dir: Path) -> list[Snapshot]:
    """Those there are, the newest first."""
    found = []
    for path in (data_dir / FOLDER).glob(f"[!.]*/{MANIFEST}"):
        try:
            found.append(Snapshot(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError):
            continue  # its name is still among the `names`
    return sorted(found, key=lambda snapshot: snapshot.taken_at, reverse=True)


def names(data_dir: Path) -> list[str]:
    """The folders of all snapshots, also of those that cannot be read, the newest first."""
    return sorted((path.name for path in (data_dir / FOLDER).glob("[!.]*") if path.is_dir()), reverse=True)


def put_back(data_dir: Path, now: datetime, wanted: str | None = None) -> Snapshot:
    """Replace both files by the newest snapshot that is whole, or the one named. The caller holds the run lock.

    The current files are moved to `damaged/`, not deleted.

    Raises:
        ConfigurationError: when there is no such snapshot, or none that is whole.
    """
    known = [snapshot for snapshot in snapshots(data_dir) if wanted in (None, snapshot.name)]
    chosen = next((snapshot for snapshot in known if _whole(data_dir, snapshot)), None)
    if chosen is None:
        which = "no whole snapshot" if wanted is None else f"no whole snapshot {wanted}"
        there = ", ".join(names(data_dir)) or "none"
        raise ConfigurationError(f"{which} in {data_dir / FOLDER}; there are: {there}")
    away = data_dir / DAMAGED / f"{now.astimezone(UTC):%Y%m%dT%H%M%S%fZ}"
    private_folder(away)
    for name in chosen.files:
        fresh = data_dir / f"{name}.restoring"
        fresh.unlink(missing_ok=True)
        copy_file(data_dir / FOLDER / chosen.name / name, fresh)
        for old in (name, f"{name}.wal"):
            if (data_dir / old).exists():
                (data_dir / old).rename(away / old)
        put_in_place(fresh, data_dir / name)
    return chosen


def forget(data_dir: Path) -> int:
    """Delete all snapshots and what restoring moved away; how many folders."""
    folders = [path for name in (FOLDER, DAMAGED) for path in (data_dir / name).glob("*") if path.is_dir()]
    for folder in folders:
        shutil.rmtree(folder)
    return len(folders)


def _whole(data_dir: Path, snapshot: Snapshot) -> bool:
    folder = data_dir / FOLDER / snapshot.name
    return all((folder / name).exists() and sha256(folder / name) == digest for name, digest in snapshot.files.items())


def _state(path: Path) -> str:
    state = path.stat()
    return f"{state.st_ino}:{state.st_size}:{state.st_mtime_ns}"


def _verify(copy: Path, source: Path) -> None:
    """Read every block of the copy: DuckDB compares each with its checksum."""
    try:
        with open_reader(copy) as reader:
            _read_all(reader)
    except duckdb.Error as error:
        raise damaged([source], damage(error) or type(error).__name__) from None


def _read_all(reader: duckdb.DuckDBPyConnection) -> None:
    tables = reader.execute(
        "SELECT database_name, schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary"
    ).fetchall()
    for name in tables:  # in full: marts.duckdb opens as a catalog `marts` with a schema of that name
        reader.execute(f"SELECT bit_xor(hash(t)) FROM {q(*name)} t").fetchall()
