"""SIGTERM and Ctrl-C end a run at the next safe point, and the next run completes what it was doing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crm_attribution.destinations import destinations
from crm_attribution_tests.orchestration import commands
from crm_attribution_tests.orchestration.commands import ACCOUNT, FIRST
from crm_attribution_tests.pipeline.project import ROOT, SAMPLE_PORTAL

pytestmark = [pytest.mark.sandbox, pytest.mark.pipeline, pytest.mark.slow]

SEED = 17
MOMENTS = int(os.environ.get("MOMENTS", "2"))
"""How many: `MOMENTS=10 python -m pytest …` tries ten."""
PLATFORMS = tuple(destinations())


def stop(process: subprocess.Popen[str], number: int) -> tuple[float, str]:
    """Seconds from the signal to the end, and what was said."""
    sent = time.monotonic()
    os.killpg(process.pid, number)  # as a terminal does: all it has started hear it too
    _, told = process.communicate(timeout=30)
    return time.monotonic() - sent, told


def test_at_random_moments_of_a_real_run_it_stops_and_the_next_completes(tmp_path):
    """One first load with everything after it, stopped again and again, then let go to its end."""
    chance = random.Random(SEED)
    with commands.sandbox() as sandbox:
        stopped, once = commands.project(tmp_path / "stopped", sandbox), commands.project(tmp_path / "once", sandbox)
        began = time.monotonic()
        once.hours(*FIRST[1::2])
        whole = time.monotonic() - began
        commands.copy_home(once, stopped)
        received = [len(sandbox.received(name)["received"]) for name in PLATFORMS]
        early = 0
        for moment in range(5 * MOMENTS):
            if moment >= MOMENTS and early >= MOMENTS // 2:
                break
            process = commands.begin(stopped, "backfill", *FIRST)
            time.sleep(chance.uniform(0.3, 1) * whole)
            if process.poll() is not None:  # the machine is less busy than it was: earlier from now on
                process.communicate()
                whole *= 0.6
                continue
            number = (signal.SIGTERM, signal.SIGINT)[moment % 2]
            seconds, told = stop(process, number)
            assert seconds <= 10, told[-2000:]
            if process.returncode == 0:  # the run was over, only the process was not
                assert list(commands.runs(stopped).values())[-1] == "SUCCESS", told[-2000:]
                whole *= 0.6
                continue
            early += 1
            assert process.returncode == 128 + number, told[-2000:]
            assert told.strip().splitlines()[-1].count("run the same command again") == 1
            assert "Traceback" not in told
        assert early >= MOMENTS // 2, "the run is too short for its moments"
        stopped.hours(*FIRST[1::2])
        assert set(commands.runs(stopped).values()) <= {"SUCCESS", "FAILURE", "CANCELED"}
        wanted, found = once.marts(), stopped.marts()
        assert {name for name in wanted if name != "upload_health" and wanted[name] != found[name]} == set()
        assert [len(sandbox.received(name)["received"]) for name in PLATFORMS] == received  # the same keys, once


def test_a_stop_is_not_retried_and_a_run_killed_very_early_is_found(tmp_path):
    with commands.sandbox() as sandbox:
        project = commands.project(tmp_path, sandbox)
        sandbox.faults([{"route": commands.READING_THE_PORTAL, "kind": "slow", "seconds": 60}])
        process = commands.begin(project, "backfill", *FIRST, *ACCOUNT)
        commands.until(lambda: sandbox.calls()["total"])
        seconds, told = stop(process, signal.SIGTERM)
        assert process.returncode == 143, told
        assert seconds < 5
        assert "stopped by SIGTERM" in told
        assert list(commands.runs(project).values()) == ["FAILURE"]
        victim = commands.begin(project, "backfill", *FIRST, *ACCOUNT)
        commands.until(lambda: len(commands.runs(project)) == 2)  # made, and no resource has been started yet
        victim.kill()
        victim.communicate()
        sandbox.faults([])
        project.hours(*FIRST[1::2], *ACCOUNT)
        assert list(commands.runs(project).values()) == ["FAILURE", "FAILURE", "SUCCESS"]


@pytest.mark.parametrize("whose", ["demo", "own"])
def test_the_sandbox_and_the_ui_leave_no_child(tmp_path, whose: str):
    """`ui` starts Dagster with its webserver, daemon and code server; on the demo with its sandbox."""
    with commands.sandbox() as running:
        project = commands.project(tmp_path, running)
    (tmp_path / ".demo").touch()
    (tmp_path / "sandbox.env").write_text("".join(f"{name}={value}\n" for name, value in running.env.items()))
    ways = {"demo": ["ui", "--data-dir", str(tmp_path)], "own": ["--env-file", str(tmp_path / "sandbox.env"), "ui"]}
    port = commands.free_port()
    process = commands.begin(project, *ways[whose], "--port", str(port))
    try:
        commands.until(lambda: len(descendants(process.pid)) >= 4)
        family = descendants(process.pid)
        begun = [command_line(pid) for pid in family]
        assert any(b"crm_attribution.sandbox" in command for command in begun) == (whose == "demo")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)
    finally:
        process.terminate()  # killed, it could not end its family
        process.wait(40)
    commands.until(lambda: not [pid for pid in family if alive(pid)], 10)


def test_the_sandbox_command_is_the_sandbox(tmp_path):
    command = [sys.executable, "-m", "crm_attribution.cli", "sandbox", "--portal", str(SAMPLE_PORTAL)]
    process = subprocess.Popen(
        [*command, "--clock", "2026-03-12T10:00:00Z"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert '"ready": true' in process.stdout.readline()
    assert descendants(process.pid) == []
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 0


def descendants(pid: int) -> list[int]:
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, todo = [], [pid]
    while todo:
        here = todo.pop()
        children = [child for child, parent in parents.items() if parent == here]
        found += children
        todo += children
    return found


def command_line(pid: int) -> bytes:
    """Empty where the process has ended meanwhile, as helpers of Dagster's do."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
