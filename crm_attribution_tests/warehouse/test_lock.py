"""The run lock: exclusive across processes and threads, bounded, and freed by the kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crm_attribution.errors import WarehouseBusy
from crm_attribution.warehouse.lock import Holder, RunLock, process_alive, process_start_token

HOLD = """
import sys, time
from pathlib import Path
from crm_attribution.warehouse.lock import RunLock
with RunLock(Path(sys.argv[1])).acquire(5, {"run_id": "run-1", "command": "backfill", "since": "2026-01-01T00:00:00Z"}):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "run.lock"


@pytest.fixture
def hold(path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def claim(run_id: str = "run-2") -> dict[str, str]:
    return {"run_id": run_id, "command": "run", "since": "2026-01-01T01:00:00Z"}


def test_a_second_process_waits_a_bounded_time_and_learns_who_holds_the_lock(path, hold):
    process = hold()
    began = time.monotonic()
    with pytest.raises(WarehouseBusy) as busy, RunLock(path).acquire(0.3, claim()):
        pass
    assert 0.3 <= time.monotonic() - began < 3
    for part in (str(path), str(process.pid), "run-1", "backfill", "2026-01-01T00:00:00Z", "run this again"):
        assert part in str(busy.value)
    with pytest.raises(WarehouseBusy), RunLock(path).acquire(0, claim()):
        pass


@pytest.mark.crash
def test_the_lock_is_free_when_the_holder_is_killed(path, hold):
    process = hold()
    waited_for: list[Holder | None] = []
    threading.Timer(0.2, process.send_signal, [signal.SIGKILL]).start()
    with RunLock(path).acquire(10, claim(), on_wait=waited_for.append) as mine:
        assert RunLock(path).holder() == mine
    assert [who.pid for who in waited_for if who] == [process.pid]


def test_the_lock_is_free_when_the_holder_leaves(path, hold):
    process = hold()
    process.communicate("")
    with RunLock(path).acquire(0, claim()):
        pass
    assert RunLock(path).holder() is None
    assert path.read_text() == ""


def test_an_error_inside_frees_the_lock(path):
    with pytest.raises(ZeroDivisionError), RunLock(path).acquire(0, claim()):
        raise ZeroDivisionError
    with RunLock(path).acquire(0, claim("other")):
        pass


def test_the_same_run_may_take_it_again_and_only_the_outermost_frees_it(path):
    with RunLock(path).acquire(0, claim("a")):
        with RunLock(path).acquire(0, claim("a")):
            pass
        with pytest.raises(WarehouseBusy, match="run a"), RunLock(path).acquire(0, claim("b")):
            pass
    with RunLock(path).acquire(0, claim("b")):
        pass


def test_threads_wait_for_each_other(path):
    inside = 0
    most = 0
    finished = []

    def work(number: int) -> None:
        nonlocal inside, most
        for turn in range(5):
            with RunLock(path).acquire(20, claim(f"{number}-{turn}")):
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1
        finished.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, sorted(finished)) == (1, [0, 1, 2, 3])


def test_a_child_process_does_not_keep_the_lock(path):
    with RunLock(path).acquire(0, claim()):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    try:
        with RunLock(path).acquire(0, claim("next")):
            pass
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', json.dumps({"pid": 2**30, "x": 1})])
def test_a_stale_or_torn_text_never_decides(path, text):
    path.parent.mkdir()
    path.write_text(text)
    assert RunLock(path).holder() is None
    with RunLock(path).acquire(0, claim()):
        pass


def test_a_dead_holder_in_the_text_is_not_reported(path):
    path.parent.mkdir()
    path.write_text(
        json.dumps({"pid": os.getpid(), "started": "another boot:1", "run_id": "x", "command": "x", "since": "x"})
    )
    assert RunLock(path).holder() is None


# --- is a recorded process alive?


def test_this_process_is_alive_and_a_reused_number_is_not():
    token = process_start_token()
    assert token
    assert token == process_start_token(os.getpid())
    assert process_alive(os.getpid(), token)
    assert process_alive(os.getpid(), None)
    assert not process_alive(os.getpid(), f"{token}0")


def test_a_dead_process_is_dead_also_before_it_is_reaped():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    token = process_start_token(process.pid)
    assert token
    assert process_alive(process.pid, token)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert not process_alive(process.pid, token)
    assert not process_alive(process.pid, None)
    process.communicate()
    assert not process_alive(process.pid, token)
    assert process_start_token(process.pid) is None


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_a_number_no_process_can_have_is_dead(pid):
    assert not process_alive(pid, None)
    assert not process_alive(pid, "x")


def test_where_the_system_does_not_tell_a_start_the_living_count_as_alive(monkeypatch):
    monkeypatch.setattr("crm_attribution.warehouse.lock.process_start_token", lambda _pid=None: None)
    assert process_alive(os.getpid(), "whatever")
