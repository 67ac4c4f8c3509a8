"""A process that only extracts, so that its peak memory and time can be measured.

`python -m benchmarks.extraction_child BASE_URL TOKEN FOLDER CLOCK` reads the contacts of a portal into an empty
warehouse and prints one line of JSON.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from crm_attribution.clock import FixedClock, parse_instant
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.mapping import load
from crm_attribution.raw.readers import readers
from crm_attribution.raw.records import RecordStore
from crm_attribution.warehouse.connection import Warehouse

CHUNKS: list[float] = []
"""Seconds of processor time of each store."""


def time_storing(store: RecordStore) -> None:
    """Note what storing costs while the tables grow."""
    untimed = store.store

    def timed(*arguments: Any) -> None:
        before = time.process_time()
        untimed(*arguments)
        CHUNKS.append(time.process_time() - before)

    object.__setattr__(store, "store", timed)


def peak() -> int:
    """The most memory this program held, in KiB. Linux's ru_maxrss would count what the process was before it became
    this program: a copy of the benchmark, with a whole portal in it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise SystemExit("no VmHWM in /proc/self/status: peak memory needs Linux")
    return int(found[1])


def main(base_url: str, token: str, folder: str, clock: str) -> None:
    transport = Transport(base_url, service="hubspot", headers={"Authorization": f"Bearer {token}"})
    hubspot, moment = HubSpotClient(transport), FixedClock(parse_instant(clock))
    found = readers(Warehouse(Path(folder)), hubspot, moment, load(), Path(folder) / "inbox")
    time_storing(found.records.store)
    found.reference.account()
    wall, cpu = time.perf_counter(), time.process_time()
    report = found.records.read("contacts", None)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    transport.close()
    tenth = max(1, len(CHUNKS) // 10)
    first, last = CHUNKS[1 : 1 + tenth] or CHUNKS, CHUNKS[-1 - tenth : -1] or CHUNKS
    print(
        json.dumps(
            {
                "rows": report.rows,
                "seconds": wall,
                "cpu": cpu,
                "kilobytes": peak(),
                "slowdown": (sum(last) / len(last)) / (sum(first) / len(first)),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:5])
