"""A mutant on trial: its file is written into a copy of the tree, and its tests run in a process forked from this one.

The libraries are imported once, here, and so are the copy's modules: a child imports again what its mutant can change
(`warm.py`). Starting an interpreter for each mutant would take longer than most tests.
"""

from __future__ import annotations

import compileall
import contextlib
import ctypes
import importlib
import math
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from crm_attribution_tests.mutants import warm
from crm_attribution_tests.mutants.plan import tracked

Graph = dict[str, set[str]]

LIBRARIES = [
    *("hypothesis", "numpy", "polars", "duckdb", "pyarrow", "pandera.polars", "pydantic", "sqlglot", "requests"),
    *("phonenumbers", "publicsuffixlist", "yaml", "rich.table", "scipy.sparse.csgraph", "starlette.applications"),
    *("uvicorn", "tenacity", "dagster", "networkx"),
]

PYTEST = [
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:anyio",
    "--assert=plain",
    "--hypothesis-seed=0",
    "--tb=line",
    "--hypothesis-profile=any failure",
]
"""Assertions stay as they are written: rewriting them takes longer than they do."""

_PR_SET_PDEATHSIG = 1
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"


def preload() -> None:
    """Import what the tests import from elsewhere."""
    for name in LIBRARIES:
        importlib.import_module(name)
    warm.plugins()


def copy(root: Path, tree: Path) -> None:
    """Bring the copy up to date, compiled."""
    names = tracked(root)
    for name in names:
        source, target = root / name, tree / name
        if not target.exists() or source.read_bytes() != target.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    kept = set(names)
    for path in tree.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".sql") and str(path.relative_to(tree)) not in kept:
            path.unlink()
    for folder in ("crm_attribution", "crm_attribution_tests"):
        compileall.compile_dir(tree / folder, quiet=1)


@contextlib.contextmanager
def changed(path: Path, code: str) -> Iterator[None]:
    """The file with other code; put back with its time, so that what was compiled of it stays good."""
    before, times = path.read_text(), path.stat()
    path.write_text(code)
    try:
        yield
    finally:
        path.write_text(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def in_child(
    tree: Path, output: Path, work: Callable[[], int], limit: float, file: str = "", graph: Graph | None = None
) -> int | None:
    """Call `work` in a forked process that runs in the copy.

    Returns its status; None where it took more than `limit` seconds of processor time, or five times as long in all: on
    a busy machine it may only wait for its turn.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.setsid()
            _end_with_parent()
            signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the run was started in the background
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 5))
            _enter(tree, output, file, graph)
            status = work()
        finally:
            sys.stdout.flush()
            os._exit(status)
    until, done = time.monotonic() + 5 * limit, 0
    try:
        while time.monotonic() < until:
            done, code = os.waitpid(pid, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(code)
                return None if status == -signal.SIGXCPU else status
            time.sleep(0.05)
        return None
    finally:
        _end(pid)  # it, or what a test left behind
        if not done:
            os.waitpid(pid, 0)


def _end_with_parent() -> None:
    """In a child: be killed where the process that started it is. Linux alone has that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _enter(tree: Path, output: Path, changed_file: str, graph: Graph | None) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = str(tree)  # processes that a test starts
    sys.dont_write_bytecode = True
    kept = f"{warm.PACKAGE}." if graph is not None else None
    for name in [name for name in sys.modules if name.partition(".")[0].startswith(warm.PACKAGE)]:
        if kept is None or not (name == warm.PACKAGE or name.startswith(kept)):
            del sys.modules[name]
    if graph is not None and changed_file.endswith(".py"):
        warm.forget(changed_file, graph)


class InOrder:
    """Has tests run in the order they are given in, and not those that take long first, as a whole run does."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.place = {test: at for at, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.place[item.nodeid])


def tried(
    tree: Path, output: Path, file: str, code: str, tests: Sequence[str], limit: float, graph: Graph | None = None
) -> str:
    """What the tests say of a file with other code."""

    def work() -> int:
        return int(pytest.main([*PYTEST, *tests], plugins=[InOrder(tests)]))

    if not tests:
        return SURVIVED
    with changed(tree / file, code):
        status = in_child(tree, output, work, limit, file, graph)
    if status is None:
        return TIMEOUT
    return SURVIVED if status == 0 else KILLED
