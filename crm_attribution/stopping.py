"""A stop is a stop: what SIGTERM, Ctrl-C and Terminate do to a run.

They end it at the next safe point, without a retry: between two statements of Python, or after the answer to a request
that has left. What is in the middle is rolled back, so a stop leaves what a crash would leave: whole commits. After
`LIMIT` seconds the process ends wherever it is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LIMIT = 9.0
"""Seconds a run has from the signal to its end."""
PATIENCE = 5.0
"""Seconds of them that a request on its way is waited for."""

SAFE = (
    "what was committed before is stored and nothing half done is; run the same command again to go on, an hour run"
    " again does nothing twice"
)

_received: list[int] = []
_watching: list[int] = []


def received() -> int | None:
    """The signal that stops this process; None where none has come while it was watched."""
    return _received[0] if _received else None


def is_stop(error: BaseException) -> bool:
    """Whether an exception is a stop, or what a library made of one: where it comes while Rust calls Python, Polars
    ends with a panic that only quotes it."""
    if "Interrupt" in type(error).__name__:
        return True
    return not isinstance(error, Exception) and "Interrupt" in str(error)


def line() -> str:
    """What a stopped command says."""
    number = received()
    return f"stopped{f' by {signal.Signals(number).name}' if number else ''}: {SAFE}"


def private() -> None:
    """What this process makes from now on, only its owner can read."""
    os.umask(0o077)


def raise_on_signals() -> None:
    """Have SIGTERM do what Ctrl-C does, and note which of the two came. For the command line."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _raise)
        sys.unraisablehook = _again


def _again(lost: sys.UnraisableHookArgs) -> None:
    """A stop that came while a destructor ran is dropped by Python: send its signal again, a moment later."""
    number = received()
    if number is None or "Interrupt" not in lost.exc_type.__name__:
        sys.__unraisablehook__(lost)
        return
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def _raise(number: int, _: FrameType | None) -> None:
    if not _received:
        _received.append(number)
    raise KeyboardInterrupt


@contextmanager
def watched() -> Iterator[None]:
    """Inside, the first signal is noted, whoever handles it, and the process is gone `LIMIT` seconds later."""
    if _watching or threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _watching.append(writing)
    threading.Thread(target=_end_in_time, args=(reading,), daemon=True).start()
    try:
        yield
    finally:
        _watching.clear()
        signal.set_wakeup_fd(before)
        os.close(writing)


def _end_in_time(reading: int) -> None:
    """Read signal numbers, which the interpreter writes as they come, until the other end is closed."""
    ending = False
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while number := pipe.read(1):
            if number[0] in SIGNALS and not ending:
                ending = True
                if not _received:
                    _received.append(number[0])
                threading.Thread(target=_end, daemon=True).start()


def _end() -> None:
    time.sleep(LIMIT)
    sys.stderr.write(f"{line()}\n")
    sys.stderr.flush()
    os._exit(128 + (received() or signal.SIGTERM))


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Inside, a signal takes effect only where the function it gives is called, at the end, or after `PATIENCE`."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGALRM)}
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if not arrived:
            arrived.append(number)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def restore() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)

    def let_through(*_: object) -> None:
        if arrived:
            restore()
            signal.raise_signal(arrived.pop())

    for number in SIGNALS:
        signal.signal(number, note)
    signal.signal(signal.SIGALRM, let_through)
    try:
        yield let_through
    finally:
        restore()
    let_through()
