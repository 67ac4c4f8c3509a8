"""A folder in memory for what the tests write, where the machine has room: half of their time they wait for disks."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (a folder of our own is made in it)
_NAME = "crm-attribution-tests-"
_ROOM = 8 * 2**30
"""Bytes: several times what a whole run keeps at once."""
_LIMITS = ((Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),)


def make() -> Path | None:
    """A new folder, for its owner only; None where the memory is needed for something else."""
    there = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
    if not there or min(shutil.disk_usage(SHARED_MEMORY).free, _available(), _left()) < _ROOM:
        return None
    for left in SHARED_MEMORY.glob(f"{_NAME}*"):  # by a run that was killed
        if not Path("/proc", left.name.removeprefix(_NAME).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_NAME}{os.getpid()}-", dir=SHARED_MEMORY))


def _available() -> int:
    """Bytes of memory that programs can have, by the kernel."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 0


def _left() -> int:
    """Bytes that a container's limit leaves."""
    for most, used in _LIMITS:
        if most.exists() and (limit := most.read_text(encoding="ascii").strip()).isdigit():
            return int(limit) - int(used.read_text(encoding="ascii"))
    return _ROOM
