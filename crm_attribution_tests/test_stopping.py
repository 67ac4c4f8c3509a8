"""Signals are held back while a request is on its way, and what a command makes is its owner's alone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from crm_attribution import stopping
from crm_attribution.cli import main
from crm_attribution.orchestration.assets.common import acting_on_errors

pytestmark = pytest.mark.pipeline


class Came(BaseException):
    """Raised by the handler of these tests."""


@pytest.fixture
def handler():
    def raise_it(*_: object) -> None:
        raise Came

    before = signal.signal(signal.SIGTERM, raise_it)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_takes_effect_at_the_safe_point_and_not_before(handler):
    reached = []

    def work() -> None:
        with stopping.held_back() as safe_point:
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("sent")
            safe_point()
            reached.append("never")

    with pytest.raises(Came):
        work()
    assert reached == ["sent"]


def test_without_a_safe_point_it_takes_effect_at_the_end_or_when_patience_ends(handler, monkeypatch):
    def work(seconds: float) -> None:
        with stopping.held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(seconds)

    with pytest.raises(Came):
        work(0)
    monkeypatch.setattr(stopping, "PATIENCE", 0.2)
    began = time.monotonic()
    with pytest.raises(Came):
        work(20)
    assert time.monotonic() - began < 10


def test_a_process_that_does_not_listen_is_gone_in_time(tmp_path: Path):
    code = (
        "import signal, sys, time; from crm_attribution import stopping; stopping.LIMIT = 0.5\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "with stopping.watched():\n"
        "    print('ready', flush=True)\n"
        "    while True: time.sleep(0.1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, told = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert told.startswith("stopped by SIGTERM")
    assert told.count("\n") == 1


def test_what_a_command_makes_is_private(tmp_path: Path):
    folder = tmp_path / "data"
    env = {**os.environ, "CRM_ATTRIBUTION_DATA_DIR": str(folder)}
    command = ["release", "--destination", "meta", "--reason", "volume_guard"]
    code = f"import os; os.umask(0o022); from crm_attribution.cli import main; main({command})"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "materialize the first hour" in done.stderr, "nothing was ever planned, and yet the folder is made"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert {path.name: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


def interrupted_within_polars() -> None:
    """A stop that comes while Rust calls Python: Polars ends with a panic, which is not an `Exception`."""
    with pytest.MonkeyPatch.context() as patch:

        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(pl.Datetime, "__init__", stop)
        frame.lazy().collect_schema()


frame = pl.DataFrame({"at": [datetime(2026, 3, 1, tzinfo=UTC)]})


def test_a_stop_is_known_by_what_a_library_made_of_it():
    with pytest.raises(BaseException, match="KeyboardInterrupt") as raised:
        interrupted_within_polars()
    assert not isinstance(raised.value, Exception | KeyboardInterrupt), "Polars lets it through by now"
    assert stopping.is_stop(raised.value)
    assert stopping.is_stop(KeyboardInterrupt())
    assert stopping.is_stop(dg.DagsterExecutionInterruptedError())
    assert not stopping.is_stop(RuntimeError("KeyboardInterrupt"))
    assert not stopping.is_stop(GeneratorExit())


def test_no_step_follows_a_stop_inside_a_library():
    """Terminate in the UI: the step that runs fails, and Dagster would go on with those that do not need it."""
    begun = []

    @dg.op
    def stopped() -> None:
        with acting_on_errors():
            begun.append("stopped")
            interrupted_within_polars()

    @dg.op
    def that_does_not_need_it() -> None:  # comes later: Dagster takes steps by their names
        begun.append("another")

    @dg.job(executor_def=dg.in_process_executor)
    def both() -> None:
        stopped()
        that_does_not_need_it()

    outcome = both.execute_in_process(raise_on_error=False)
    assert begun == ["stopped"]
    assert not outcome.success


def test_a_command_that_is_stopped_inside_a_library_says_so(monkeypatch):
    monkeypatch.setattr("crm_attribution.operations.query.run", lambda *_: interrupted_within_polars())
    done = CliRunner().invoke(main, ["query", "SELECT 1"])
    assert done.exit_code == 128 + signal.SIGINT
    assert "stopped" in done.output
