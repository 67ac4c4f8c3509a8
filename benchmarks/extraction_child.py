"""A process that only extracts: its peak memory and its time are nobody else's.

`python -m benchmarks.extraction_child BASE_URL TOKEN FOLDER CLOCK` reads the contacts of a portal into an empty
warehouse and prints one line of JSON.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from crm_attribution.clock import FixedClock, parse_instant
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.mapping import load
from crm_attribution.raw.extract import Extractor
from crm_attribution.raw.reading import Extraction
from crm_attribution.raw.records import Record, Wanted
from crm_attribution.warehouse.connection import Warehouse

CHUNKS: list[float] = []
"""Seconds of processor time of each store."""


class Timed(Extractor):
    """Notes what storing costs while the tables grow."""

    def store(self, wanted: Wanted, results: Sequence[Record], run: Extraction, progress: str | None = None) -> None:
        before = time.process_time()
        super().store(wanted, results, run, progress)
        CHUNKS.append(time.process_time() - before)


def peak() -> int:
    """The most memory this program held, in KiB. Linux's ru_maxrss would count what the process was before it became
    this program: a copy of the benchmark, with a whole portal in it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise SystemExit("no VmHWM in /proc/self/status: peak memory needs Linux")
    return int(found[1])


def main(base_url: str, token: str, folder: str, clock: str) -> None:
    transport = Transport(base_url, service="hubspot", headers={"Authorization": f"Bearer {token}"})
    extractor = Timed(Warehouse(Path(folder)), HubSpotClient(transport), FixedClock(parse_instant(clock)), load())
    extractor.account()
    wall, cpu = time.perf_counter(), time.process_time()
    report = extractor.objects("contacts", None)
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
