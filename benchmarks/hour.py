"""CPU seconds and peak memory of hourly runs on portals of several sizes, next to another release.

    python -m benchmarks.hour --contacts 2000 20000 --against build/previous/.venv/bin/python

Each portal is generated, its history is loaded through the first hour, then `--hours` further hours run one by one as
a person would start them (`crm-attribution backfill`). Figures are of the whole process: user and system time, peak
memory. Of the further hours the median is shown. `--against` names the Python of an environment in which another
release is installed; it plays the same portal log against its own sandbox.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

FIRST = datetime(2026, 3, 13, 8, tzinfo=UTC)
"""The log ends at 20:00Z of this day: the hours after the first load have a working day's changes."""
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Cost:
    """One command. `cpu` in seconds, `peak` in megabytes."""

    cpu: float
    peak: float


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def command(python: str, *arguments: str, env: dict[str, str] | None = None) -> Cost:
    """Run `crm-attribution …` of an environment and measure the process with all it started."""
    done = subprocess.Popen(
        [python, "-m", "crm_attribution.cli", *arguments],
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=Path(python).parents[2],
    )
    assert done.stderr is not None
    errors = done.stderr.read()
    _, status, usage = os.wait4(done.pid, 0)
    if status:
        raise SystemExit(errors.decode()[-2000:])
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@contextmanager
def sandbox(python: str, portal: Path, clock: datetime) -> Iterator[dict[str, str]]:
    """A running sandbox without limits; yields the environment that points the pipeline at it."""
    arguments = ["sandbox", "--portal", str(portal), "--clock", iso(clock), "--limits", "off"]
    process = subprocess.Popen(
        [python, "-m", "crm_attribution.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(python).parents[2],
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["env"]
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def set_clock(env: dict[str, str], moment: datetime) -> None:
    body = json.dumps({"now": iso(moment)}).encode()
    address = env["HUBSPOT_BASE_URL"].rstrip("/") + "/_sandbox/clock"
    urllib.request.urlopen(urllib.request.Request(address, body, method="PUT")).read()


def measure(python: str, portal: Path, hours: int) -> tuple[Cost, list[Cost]]:
    """The first load and each of the following hours."""
    with tempfile.TemporaryDirectory() as folder, sandbox(python, portal, FIRST + HOUR) as env:
        env = {**env, "CRM_ATTRIBUTION_DATA_DIR": folder, "CRM_ATTRIBUTION_START": iso(FIRST)}
        backfill = ["backfill", "--force", "--from"]
        load = command(python, *backfill, iso(FIRST), "--to", iso(FIRST + HOUR), env=env)
        costs = []
        for number in range(1, hours + 1):
            set_clock(env, FIRST + (number + 1) * HOUR)
            span = (iso(FIRST + number * HOUR), "--to", iso(FIRST + (number + 1) * HOUR))
            costs.append(command(python, *backfill, *span, env=env))
        return load, costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--hours", type=int, default=3)
    parser.add_argument("--against", help="Python of an environment with another release")
    given = parser.parse_args()
    releases = {"this": os.path.abspath(sys.executable)} | ({"other": given.against} if given.against else {})
    print(f"{'contacts':>9} {'release':>8} {'first load':>22} {'an hour (median)':>24} {'ratio of hours':>15}")
    for contacts in given.contacts:
        with tempfile.TemporaryDirectory() as folder:
            portal = Path(folder) / "portal.jsonl"
            command(
                releases["this"], "generate-portal", "--contacts", str(contacts), "--days", "30", "--out", str(portal)
            )
            found = {}
            for name, python in releases.items():
                load, hours = measure(python, portal, given.hours)
                hour = statistics.median(cost.cpu for cost in hours)
                peak = max(cost.peak for cost in hours)
                found[name] = hour
                ratio = f"{found['this'] / hour:.2f}" if name == "other" else ""
                first = f"{load.cpu:8.1f} s {load.peak:7.0f} MB"
                print(f"{contacts:>9} {name:>8} {first:>22} {hour:>10.1f} s {peak:>7.0f} MB {ratio:>15}", flush=True)


if __name__ == "__main__":
    main()
