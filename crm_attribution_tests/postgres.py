"""A PostgreSQL server of our own, where the machine has its programs: for the ledger and Dagster in it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa


def _programs() -> Path:
    found = shutil.which("postgres")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not places:
        pytest.skip("PostgreSQL's programs are not on this machine")
    return places[0]


@contextmanager
def server() -> Iterator[str]:
    """A server on a port of its own; its address without the database. Skips the test where there can be none."""
    programs = _programs()
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    data = folder / "data"
    if user is not None:
        try:
            shutil.chown(folder, user)
        except LookupError:
            pytest.skip("run by root, on a machine without the user postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": user, "cwd": folder}
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "tester"], check=True, **quiet)  # type: ignore[call-overload]
    options = f"-p {port} -k {folder} -c fsync=off -c listen_addresses=127.0.0.1"
    subprocess.run([programs / "pg_ctl", "-D", data, "-w", "-o", options, "start"], check=True, **quiet)  # type: ignore[call-overload]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=False, **quiet)  # type: ignore[call-overload]
        shutil.rmtree(folder, ignore_errors=True)


def new_database(address: str) -> str:
    """SQLAlchemy's URL of a new, empty database."""
    name = f"test_{uuid4().hex}"
    engine = sa.create_engine(f"postgresql+psycopg2://tester@{address}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"postgresql+psycopg2://tester@{address}/{name}"
