"""One run at a time, also across processes: an operating-system lock that dies with its holder.

    with RunLock(data / "run.lock").acquire(600, {"run_id": run_id, "command": "backfill", "since": iso(clock.now())}):
        …

The lock is `flock` on an open file, so the kernel frees it when the process ends, however it ends. The file's text
only says who holds it, for messages; the lock itself is never decided by it. Two threads wait for each other like
two processes; the same process may take it again for the run that holds it already.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from crm_attribution.errors import WarehouseBusy

_POLL_FIRST, _POLL_LONGEST = 0.02, 0.5


@dataclass(frozen=True)
class Holder:
    """Who holds the lock. `started` distinguishes two processes with one number."""

    pid: int
    started: str
    run_id: str
    command: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid}, run {self.run_id} ({self.command}), since {self.since}"


@dataclass
class _Held:
    """A lock this process has, how often it was taken, and by which process (a fork inherits the memory)."""

    descriptor: int
    run_id: str
    pid: int
    depth: int


_held: dict[Path, _Held] = {}
_guard = threading.Lock()


class RunLock:
    """The lock on `path`. Making one takes nothing; `acquire` does."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @contextmanager
    def acquire(
        self, timeout: float, holder: Mapping[str, str], on_wait: Callable[[Holder | None], None] | None = None
    ) -> Iterator[Holder]:
        """Hold the lock for the `with` block.

        Args:
            timeout: seconds to wait for another holder; 0 tries once.
            holder: `run_id`, `command` and `since`, shown to those who wait.
            on_wait: called once, with the present holder where known, before waiting begins.

        Raises:
            WarehouseBusy: when another process still holds the lock after `timeout`; names them.
        """
        mine = Holder(
            os.getpid(), process_start_token() or "", holder["run_id"], holder["command"], holder.get("since", "")
        )
        if not self._join(mine):
            self._take(mine, timeout, on_wait)
        try:
            yield mine
        finally:
            self._leave()

    def holder(self) -> Holder | None:
        """Who holds the lock now, according to the file: None when it names no living process."""
        stored = self._stored()
        return stored if stored and process_alive(stored.pid, stored.started) else None

    def _stored(self) -> Holder | None:
        try:
            return Holder(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _join(self, mine: Holder) -> bool:
        """Go one level deeper where this process holds the lock for the same run."""
        with _guard:
            held = _held.get(self.path)
            if held is None or held.pid != mine.pid or held.run_id != mine.run_id:
                return False
            held.depth += 1
            return True

    def _take(self, mine: Holder, timeout: float, on_wait: Callable[[Holder | None], None] | None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait(descriptor, timeout, on_wait)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(mine)).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        with _guard:
            _held[self.path] = _Held(descriptor, mine.run_id, mine.pid, 1)

    def _wait(self, descriptor: int, timeout: float, on_wait: Callable[[Holder | None], None] | None) -> None:
        deadline = time.monotonic() + timeout
        pause = _POLL_FIRST
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                left = deadline - time.monotonic()
            if left <= 0:
                raise WarehouseBusy(self._busy(timeout)) from None
            if on_wait is not None:
                on_wait(self.holder())
                on_wait = None
            time.sleep(min(pause, left))
            pause = min(pause * 2, _POLL_LONGEST)

    def _busy(self, timeout: float) -> str:
        holder, stored = self.holder(), self._stored()
        end = f"end process {holder.pid}" if holder else "end that process"
        if holder:
            who = str(holder)
        elif stored:
            who = f"a process that is not visible from here; the last name written is {stored}"
        else:
            who = "another process that has not written its name yet"
        return (
            f"{self.path} is held by {who}; waited {timeout:g} s. Let it finish and run this again, or {end}: the lock"
            " is free as soon as the process is gone, and what it left half done is taken up by the next run"
        )

    def _leave(self) -> None:
        with _guard:
            held = _held[self.path]
            if held.pid != os.getpid():  # a forked child must not unlock what its parent holds
                return
            held.depth -= 1
            if held.depth:
                return
            del _held[self.path]
        os.ftruncate(held.descriptor, 0)
        os.close(held.descriptor)


def process_start_token(pid: int | None = None) -> str | None:
    """A token that no other process with this number has: its start within this boot.

    None when there is no such process, when it has ended (a zombie too), or when the system does not report it.
    """
    pid = os.getpid() if pid is None else pid
    if Path("/proc/self/stat").exists():
        return _linux_start_token(pid)
    listed = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    state, _, started = listed.stdout.strip().partition(" ")
    return started.strip() or None if not state.startswith("Z") else None


def _linux_start_token(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    state, started = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{started}"


def process_alive(pid: int, started: str | None) -> bool:
    """Whether the process that had this number and start token still runs.

    Without a token (older records), or where the system reports none, any process of that number counts as
    alive: a living run must never be taken for dead.
    """
    token = process_start_token(pid)
    if token is not None:
        return not started or token == started
    return _exists(pid) and not _is_zombie(pid)


def _exists(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in "ZX"
