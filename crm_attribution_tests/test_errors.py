"""What a full or read-only disk means for a person, whoever reports it."""

from __future__ import annotations

import errno
import sqlite3

import duckdb
import pytest

from crm_attribution.errors import machine_trouble


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (duckdb.IOException('IO Error: Could not write file "w.duckdb": No space left on device'), "the disk is full"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "the disk is read-only"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "the disk is read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be written"),
        (OSError(errno.ECONNREFUSED, "Connection refused"), None),
        (ValueError("could not convert 'disk is full'"), None),
    ],
)
def test_trouble_of_the_machine_is_told_with_its_fix(error: Exception, said: str | None):
    wrapped = RuntimeError("while writing")
    wrapped.__cause__ = error
    for shown in (machine_trouble(error), machine_trouble(wrapped)):
        assert (shown is None) if said is None else said in (shown or "")
