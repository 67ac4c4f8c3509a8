"""Parquet copies of the published file, and the published files of days before.

    data/finance/current -> 20260313T130000Z-1a2b3c4d       a link, replaced in one step
    data/finance/20260313T130000Z-1a2b3c4d/                 one snapshot: never written again
        finance.duckdb, finance.manifest.json, TABLE.parquet

A folder is whole or not there: it is written under a hidden name and renamed. `finance.duckdb` in it is a hard link to
the published file; a table that did not change is a hard link to the file it had before. Kept are the newest snapshot
of each day for some days, and all of the last two hours, so that who followed the link can finish.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from crm_attribution.clock import parse_instant
from crm_attribution.marts.manifest import Manifest, manifest_path, read_manifest, temporary_path, write_manifest
from crm_attribution.warehouse.engine import open_reader
from crm_attribution.warehouse.files import put_in_place, sync_folder
from crm_attribution.warehouse.identifiers import quote_identifier, quote_literal
from crm_attribution.warehouse.lock import process_alive

CURRENT = "current"
_READERS_FINISH = timedelta(hours=2)


def folder_of(target: Path) -> Path:
    """`finance/` beside `finance.duckdb`."""
    return target.with_suffix("")


def keep_copies(target: Path, manifest: Manifest, *, now: datetime, days: int, mode: int, erased: bool = False) -> bool:
    """Make the copies of the published file, where there are none yet, and remove what is too old.

    Args:
        target: the published file, which is in place.
        manifest: of the published file.
        now: for the age of snapshots.
        days: for which the newest snapshot of a day stays.
        mode: of the files.
        erased: older snapshots may hold what was erased: they go at once.

    Returns:
        Whether a snapshot was written.
    """
    root = folder_of(target)
    root.mkdir(exist_ok=True, mode=0o700)
    root.chmod(_enter(mode))
    _clean_up(root)
    known = _snapshots(root, target.name)
    current = _current(root, target.name)
    new = erased or current is None or current[1].sha256 != manifest.sha256
    folder = root / _name(manifest) if new or current is None else current[0]
    if new:
        _write(folder, target, manifest, None if erased else current, mode)
        _link(root, folder)
    elif current is not None and current[1] != manifest:
        write_manifest(folder / target.name, manifest)
        manifest_path(folder / target.name).chmod(mode | 0o200)
    for old in _superseded([one for one in known if one[0] != folder], manifest, now, days, erased):
        shutil.rmtree(old)
    return new


def _name(manifest: Manifest) -> str:
    return f"{parse_instant(manifest.published_at):%Y%m%dT%H%M%SZ}-{manifest.snapshot_id[:8]}"


def _enter(mode: int) -> int:
    """The mode of a folder whose files have `mode`: whoever may read them may list it."""
    return 0o700 | (mode & 0o044) | (mode & 0o044) >> 2


def _snapshots(root: Path, file: str) -> list[tuple[Path, Manifest]]:
    """Every snapshot with its manifest, the newest first."""
    found = [
        (path, manifest)
        for path in root.iterdir()
        if path.is_dir() and not path.is_symlink() and (manifest := read_manifest(path / file)) is not None
    ]
    return sorted(found, key=lambda one: (one[1].published_at, one[0].name), reverse=True)


def _current(root: Path, file: str) -> tuple[Path, Manifest] | None:
    link = root / CURRENT
    manifest = read_manifest(link / file) if link.is_dir() else None
    return None if manifest is None else (link.resolve(), manifest)


def _write(folder: Path, target: Path, manifest: Manifest, before: tuple[Path, Manifest] | None, mode: int) -> None:
    """Write a snapshot under a hidden name and rename it."""
    half = temporary_path(folder)
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    os.link(target, half / target.name)
    with open_reader(target) as reader:
        for table in manifest.rows:
            path = half / f"{table.split('.', 1)[1]}.parquet"
            old = before[0] / path.name if before is not None else None
            same = before is not None and before[1].tables.get(table) == manifest.tables[table]
            if old is not None and same and old.exists():
                os.link(old, path)
                continue
            rows = f"FROM {quote_identifier(*table.split('.', 1))}"
            to = quote_literal(str(path))
            reader.execute(f"COPY ({rows}) TO {to} (FORMAT parquet, COMPRESSION zstd)").fetchall()
            _sync(path)
            path.chmod(mode)
    write_manifest(half / target.name, manifest)
    manifest_path(half / target.name).chmod(mode | 0o200)
    half.chmod(_enter(mode))
    shutil.rmtree(folder, ignore_errors=True)
    put_in_place(half, folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(root: Path, folder: Path) -> None:
    """Lead `current` to a snapshot, in one step."""
    temporary = temporary_path(root / CURRENT)
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name)
    os.replace(temporary, root / CURRENT)
    sync_folder(root)


def _superseded(
    known: list[tuple[Path, Manifest]], current: Manifest, now: datetime, days: int, erased: bool
) -> list[Path]:
    """The snapshots to remove, of those that are not current."""
    seen = {parse_instant(current.published_at).date()}
    gone = []
    for path, manifest in known:
        published = parse_instant(manifest.published_at)
        age = now - published
        newest_of_day = published.date() not in seen
        seen.add(published.date())
        kept = age <= _READERS_FINISH or (newest_of_day and age <= timedelta(days=days))
        if erased or not kept:
            gone.append(path)
    return gone


def _clean_up(root: Path) -> None:
    """Remove what publications that died have left, and folders without a manifest."""
    for leftover in root.glob(".*.tmp"):
        pid = leftover.name.split(".")[-2]
        if not pid.isdigit() or int(pid) == os.getpid() or not process_alive(int(pid), None):
            leftover.unlink() if leftover.is_symlink() else shutil.rmtree(leftover)
