"""The command line in a process forked from one that has imported Dagster: half the start of a command is that.

Polars, DuckDB, Arrow and SciPy start threads when they are imported, so each command imports them itself.
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
        *("dagster", "dagster._core.instance", "dagster._core.storage.sqlite", "dagster._core.execution.api"),
        *("sqlglot.lineage", "sqlglot.optimizer.qualify", "sqlalchemy.dialects.sqlite", "alembic", "pydantic", "yaml"),
        *("requests", "tenacity", "rich.console", "rich.table", "phonenumbers", "publicsuffixlist", "dotenv"),
    ]
)


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
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["crm-attribution", *arguments]
    from crm_attribution.cli import main

    try:
        main(args=arguments, prog_name="python -m crm_attribution.cli")
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends a process without them
