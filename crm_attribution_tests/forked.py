"""The command line, and work that is to be killed, in processes forked from one that has imported everything: the start
of a command is half of what a short one costs.

Not Dagster's assets: importing them reads the first hour from the environment, which is the command's own.

A process has one fork server, with one list of what it imports: whoever forks in a test takes `CONTEXT` from here.
Importing starts no threads that hold locks: DuckDB, Polars and Arrow start theirs with the first query, and OpenBLAS,
which starts its own when it is imported, is told not to.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("dagster._core.execution.execute_in_process", "dagster._core.instance.factory", "alembic.command"),
        *("dagster._core.instance.runs.run_domain", "dagster._core.storage.legacy_storage"),
        *("dagster._core.storage.event_log.sqlite", "dagster._core.storage.local_compute_log_manager"),
        *("dagster._core.execution.job_backfill", "dagster._core.remote_representation", "rich.console", "rich.table"),
        *(
            f"crm_attribution.orchestration.{name}"
            for name in ("runs", "run_setup", "resources", "catalog", "event_log")
        ),
        *(
            f"crm_attribution.operations.{name}"
            for name in ("demo", "dry_run", "mapping_diff", "query", "rebuild", "status", "why")
        ),
        *("crm_attribution.cli", "crm_attribution_tests.delivery.killed"),
    ]
)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def command(
    arguments: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """`crm-attribution …`, with this environment and nothing else of ours.

    Raises:
        subprocess.TimeoutExpired: when it does not end; it is killed.
    """
    with tempfile.TemporaryDirectory(prefix="command-") as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = CONTEXT.Process(target=_run, args=(list(arguments), dict(env), str(cwd), str(out), str(err)))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout)
        return subprocess.CompletedProcess(list(arguments), process.exitcode, out.read_text(), err.read_text())


def _run(arguments: list[str], env: dict[str, str], cwd: str, out: str, err: str) -> None:
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    assert "crm_attribution.orchestration.assets.common" not in sys.modules, "it reads the environment when imported"
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["crm-attribution", *arguments]
    from crm_attribution.cli import main

    try:
        main(args=arguments, prog_name="python -m crm_attribution.cli")
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends a process without them
