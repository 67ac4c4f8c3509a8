"""A small portal behind a sandbox, and commands on it: in the foreground, in the background, and what they left."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from crm_attribution_tests.pipeline.project import ROOT, Project
from crm_attribution_tests.sandbox.lines import COMPANY, NOW, Line
from crm_attribution_tests.sandbox_process import Sandbox

START = "2026-03-09T00:00:00Z"
FIRST = ("--from", START, "--to", "2026-03-09T01:00:00Z")
LATER = ("--from", "2026-03-09T01:00:00Z", "--to", "2026-03-09T02:00:00Z")
ACCOUNT = ("--select", 'key:"raw/account"')
"""One call to HubSpot: the cheapest run there is."""

READING_THE_PORTAL = "GET /account-info/*"


def sandbox(lines: list[Line] | None = None) -> Sandbox:
    return Sandbox.start(lines or COMPANY, NOW)


def project(folder: Path, sandbox: Sandbox, **more: str) -> Project:
    """A data directory of its own, pointed at the sandbox."""
    folder.mkdir(parents=True, exist_ok=True)
    return Project(folder, {**sandbox.env, "CRM_ATTRIBUTION_START": START, **more})


def begin(project: Project, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """`crm-attribution …` in the background."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "crm_attribution.cli", *arguments],
        env={**kept, **project.env, "CRM_ATTRIBUTION_DATA_DIR": str(project.data_dir), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def until(true: Callable[[], object], seconds: float = 120) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: when it does not.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("it never came true")
        time.sleep(0.05)


def locked(project: Project) -> str:
    """What the lock file says; empty where nobody holds it."""
    path = project.data_dir / "run.lock"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def runs(project: Project) -> dict[str, str]:
    """run id -> status, oldest first, as Dagster keeps them."""
    with sqlite3.connect(project.data_dir / "dagster" / "history" / "runs.db") as database:
        return dict(database.execute("SELECT run_id, status FROM runs ORDER BY id").fetchall())


def steps(project: Project, run_id: str) -> list[tuple[str, float]]:
    """(event, instant) of a run, in order."""
    with sqlite3.connect(project.data_dir / "dagster" / "history" / "runs" / f"{run_id}.db") as database:
        return database.execute(
            "SELECT dagster_event_type, CAST(strftime('%s', timestamp) AS REAL) FROM event_logs ORDER BY id"
        ).fetchall()


def copy_home(of: Project, to: Project) -> Project:
    """Give a project an initialised Dagster home: making one anew takes two seconds."""
    shutil.copytree(of.data_dir / "dagster", to.data_dir / "dagster")
    return to


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
