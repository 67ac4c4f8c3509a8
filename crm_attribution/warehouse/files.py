"""Database files: copied while they are open, put in place in one step, opened by the clients that shall."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

from crm_attribution.errors import ConfigurationError, Terminal

_COPY_PROGRAM = Path(__file__).with_name("file_copy.py")
_CHUNK = 4 << 20


def put_in_place(temporary: Path, target: Path) -> None:
    """Rename, and make the rename itself durable."""
    os.replace(temporary, target)
    sync_folder(target.parent)


def private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter, and those above it that are missing."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_file(source: Path, target: Path) -> str:
    """Copy a database file that DuckDB has open here, fsync, and return the SHA-256.

    A child process does it: closing the file in this one would free DuckDB's lock on it.

    Raises:
        Terminal: when it cannot be copied; says why.
    """
    private_folder(target.parent)
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-I", str(_COPY_PROGRAM), str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Terminal(f"{source} could not be copied to {target.parent}: {done.stderr.strip()}")
    return done.stdout


def sha256(path: Path) -> str:
    """Of a file no DuckDB of this process has open."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_storage_version(path: Path) -> int:
    """The storage version in a database file's header. Never call it on a file this process has open in DuckDB.

    Raises:
        ConfigurationError: when the file is no DuckDB database.
    """
    with path.open("rb") as file:
        header = file.read(20)
    if len(header) < 20 or header[8:12] != b"DUCK":
        raise ConfigurationError(f"{path} is not a DuckDB database")
    return int(struct.unpack("<Q", header[12:20])[0])
