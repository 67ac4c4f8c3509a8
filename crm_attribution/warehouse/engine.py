"""DuckDB engines: each with its own spill folder and a memory limit, and the errors after which a process must end.

DuckDB spills to `.tmp` of the working directory and takes 80 % of the memory unless it is configured. Two processes
that spill into one folder read each other's blocks: most often that ends in "Corrupted uncompressed string segment",
sometimes in wrong values without an error. So every engine of this package is made here.

https://duckdb.org/docs/stable/configuration/pragmas#temp-directory-for-spilling-data-to-disk
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import duckdb

from crm_attribution.errors import WarehouseDamaged
from crm_attribution.redaction import redact
from crm_attribution.warehouse.files import private_folder

SPILL = "spill"
"""Folder of the data directory that holds the engines' spill folders."""

_LEAST_MEMORY = 512 * 2**20
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_DAMAGE = re.compile(
    r"\bcorrupt|checksum|has been invalidated|could not read enough bytes|not a valid DuckDB database file", re.I
)
_QUOTING = (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError)
"""Errors whose text may quote a row or a query: their words say nothing about the file."""


def open_engine(data_dir: Path, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB for work on the files of a data directory.

    Args:
        data_dir: its `spill` folder gets a new folder of mode 0700, which goes when the connection does.
        memory_limit: as DuckDB writes it (`4GB`); by default half of what this machine or container has, so that
            Polars and Dagster have room.
    """
    spill, lock = _spill_folder(data_dir / SPILL)
    limit = memory_limit or f"{default_memory() // 2**20}MiB"
    engine = duckdb.connect(":memory:", config={"temp_directory": str(spill), "memory_limit": limit})
    engine.execute("SET GLOBAL TimeZone = 'UTC'")
    weakref.finalize(engine, _remove, spill, lock, os.getpid())
    return engine


def open_reader(path: Path | None = None) -> duckdb.DuckDBPyConnection:
    """An engine for small questions, of one file read-only or of none: it never spills."""
    config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": ""}
    return duckdb.connect(config=config) if path is None else duckdb.connect(path, read_only=True, config=config)


def default_memory() -> int:
    """Bytes: half of the memory of this machine, or of the container where that has less."""
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            known.append(int(file.read_text(encoding="ascii")))  # "max" where there is no limit
    return max(min(known) // 2, _LEAST_MEMORY)


def _spill_folder(root: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor of a lock on it: the kernel frees that when the process ends."""
    private_folder(root)
    while True:
        path = Path(tempfile.mkdtemp(dir=root))
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if path.exists():  # else it was cleared between its making and its locking
            return path, descriptor
        os.close(descriptor)


def clear_spill(data_dir: Path) -> list[str]:
    """Remove the spill folders whose process is gone; their names. The caller holds the run lock."""
    gone = []
    root = data_dir / SPILL
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            gone.append(folder.name)
        except BlockingIOError:
            continue  # a command that only reads is using it
        finally:
            os.close(descriptor)
    return gone


def damage(error: BaseException) -> str | None:
    """What an error says of a damaged file or memory; None for all other errors. Looks at its causes too."""
    seen: BaseException | None = error
    while seen is not None:
        known = isinstance(seen, duckdb.InternalException | duckdb.FatalException)
        if known or (isinstance(seen, duckdb.Error) and not isinstance(seen, _QUOTING) and _DAMAGE.search(str(seen))):
            lines = str(seen).strip().splitlines() or [type(seen).__name__]
            return redact(lines[0][:300])
        seen = seen.__cause__ or seen.__context__
    return None


_FILE = re.compile(r'file "([^"]+)"', re.I)
_BLOCK = re.compile(r"does not match stored checksum (\d+) in block at location (\d+)")


def culprits(what: str, paths: Sequence[Path]) -> list[Path]:
    """Which of the files an error is about: the one it names, or that has the checksum it tells where it says; all of
    them where it tells neither."""
    if named := _FILE.search(what):
        found = [path for path in paths if str(path) == named[1]]
    elif block := _BLOCK.search(what):
        found = [path for path in paths if _bytes_at(path, int(block[2])) == int(block[1]).to_bytes(8, "little")]
    else:
        found = []
    return found or list(paths)


def _bytes_at(path: Path, place: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(place)
            return file.read(8)
    except OSError:
        return b""


def interrupted(error: BaseException) -> bool:
    """Whether a signal ended a query."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, duckdb.InterruptException) or str(seen) == "Query interrupted":
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def damaged(paths: Sequence[Path], what: str) -> WarehouseDamaged:
    """The last words of a process that met a damaged file or memory, one of these."""
    return WarehouseDamaged(
        f"{' or '.join(map(str, paths))}: DuckDB reported a damaged file or memory ({what}). This process ends without"
        " writing; what was committed before is kept. Run the command again; if it ends with this message again, put"
        " the last good copy back with crm-attribution restore"
    )


def _remove(path: Path, descriptor: int, pid: int) -> None:
    if os.getpid() == pid:  # a forked child must not remove what its parent uses
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)
