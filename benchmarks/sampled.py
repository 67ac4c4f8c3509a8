"""Where the CPU time of a command goes, by step: `python benchmarks/sampled.py FILE backfill …` runs `crm-attribution
backfill …` of this environment and writes seconds by step to FILE, as JSON.

Samples the stack as CPU time passes (ITIMER_PROF), so it needs nothing of the release it measures, and works with
earlier ones. It takes a few per cent itself.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

STEPS = {
    "imports": r"importlib\._bootstrap>",
    "open and close files": r"warehouse/connection\.py:(_attach|_detach|_prepare)",
    "Dagster's event log": r"(event_log|handle_new_event|sqlite_storage)",
    "data tests": r"marts/models\.py:run_test",
    "staging and marts": r"(marts/models\.py:materialize|marts/current\.py)",
    "publication": r"(assets/sql\.py:publication|assets/report\.py)",
    "column lineage": r"assets/sql\.py:_lineage",
    "table checks": r"assets/common\.py:run_table_checks",
    "sinks": r"delivery/deliver\.py:deliver",
    "planning": r"conversions/plan\.py:update",
    "identity to attribution": r"crm_attribution/layers\.py:run",
    "extraction": r"orchestration/assets/raw\.py",
    "rest of Dagster": r"execute_in_process\.py",
    "rest": r"",
}
"""Step -> what a frame of it matches; the innermost frame that matches any decides."""


def main() -> None:
    from crm_attribution import cli

    file, *arguments = sys.argv[1:]
    found: Counter[str] = Counter()
    last = time.process_time()

    def hit(_: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.process_time()
        found[_step(frame)] += now - last  # type: ignore[assignment]
        last = now

    signal.signal(signal.SIGPROF, hit)
    signal.setitimer(signal.ITIMER_PROF, 0.003, 0.003)
    sys.argv = ["crm-attribution", *arguments]
    try:
        cli.main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(file).write_text(json.dumps(found), encoding="utf-8")


def _step(frame: FrameType | None) -> str:
    while frame is not None:
        place = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        for step, pattern in STEPS.items():
            if pattern and re.search(pattern, place):
                return step
        frame = frame.f_back
    return "rest"


if __name__ == "__main__":
    main()
