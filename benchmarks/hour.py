"""CPU seconds and peak memory of an idle hour and of an hour of 200 changes, by size of the portal and by step, next to
another release.

    python -m benchmarks.hour --contacts 2000 20000 --against build/previous/.venv/bin/python

Each portal is generated, its history is loaded through the first hour, and the hours to the end of its log are caught
up with. Then an hour runs in which nothing happens, and one in which 200 contacts change, each as a person would start
it (`crm-attribution backfill`). Figures are of the whole process: user and system time, peak memory. Both are repeated
with the time of each step sampled (`benchmarks/sampled.py`). `--against` names the Python of an environment in which
another release is installed; it plays the same portal log against its own sandbox.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.sampled import STEPS

FIRST = datetime(2026, 3, 13, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
CALM = 17
"""Hours after the first load from which on nothing happens: the log ends at 20:00Z of the first day. All of them end on
the next day and are not its first, which does more."""
CHANGED = 200
HOURS = {"idle hour": (CALM, CALM + 2), f"{CHANGED} changes": (CALM + 1, CALM + 3)}
"""What is measured, and in which hours: by itself, and by step."""


@dataclass(frozen=True)
class Cost:
    """One command. `cpu` in seconds, `peak` in megabytes, `steps` in seconds where they were sampled."""

    cpu: float
    peak: float
    steps: dict[str, float]


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def command(python: str, *arguments: str, env: dict[str, str] | None = None, steps: Path | None = None) -> Cost:
    """Run `crm-attribution …` of an environment and measure the process with all it started."""
    sampled, place = [str(Path(__file__).with_name("sampled.py")), str(steps)], Path(python).parents[2]
    done = subprocess.Popen(
        [python, *(["-m", "crm_attribution.cli"] if steps is None else sampled), *arguments],
        env={**os.environ, "PYTHONPATH": str(place), **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=place,
    )
    assert done.stderr is not None
    errors = done.stderr.read()
    _, status, usage = os.wait4(done.pid, 0)
    if status:
        raise SystemExit(errors.decode()[-2000:])
    found = {} if steps is None else json.loads(steps.read_text(encoding="utf-8"))
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, found)


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


def with_changes(portal: Path) -> None:
    """Let some contacts change in two further hours, at half past."""
    known: dict[str, bool] = {}
    with portal.open(encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record.get("object") != "contacts" or record["op"] == "update":
                continue
            for name in ("id", "primary", "merged"):
                if name in record:  # what was merged or archived cannot be changed
                    known[str(record[name])] = record["op"] == "create"
    live = [name for name, there in known.items() if there]
    names = live[:: max(1, len(live) // CHANGED)][:CHANGED]
    with portal.open("a", encoding="utf-8") as file:
        for hour, stage in zip(
            HOURS[f"{CHANGED} changes"], ("marketingqualifiedlead", "salesqualifiedlead"), strict=True
        ):
            moment = iso(FIRST + hour * HOUR + HOUR / 2)
            for name in names:
                change = {"at": moment, "op": "update", "object": "contacts", "id": name, "source": "CRM_UI"}
                file.write(json.dumps({**change, "properties": {"lifecyclestage": stage}}) + "\n")


def measure(python: str, portal: Path) -> dict[str, Cost]:
    """The first load, and the hours of `HOURS`."""
    with tempfile.TemporaryDirectory() as folder, sandbox(python, portal, FIRST + HOUR) as env:
        env = {**env, "CRM_ATTRIBUTION_DATA_DIR": folder, "CRM_ATTRIBUTION_START": iso(FIRST)}

        def run(since: int, until: int, steps: Path | None = None) -> Cost:
            set_clock(env, FIRST + until * HOUR)
            span = ("--from", iso(FIRST + since * HOUR), "--to", iso(FIRST + until * HOUR))
            return command(python, "backfill", "--force", *span, env=env, steps=steps)

        found = {"first load": run(0, 1)}
        run(1, CALM - 1)
        run(CALM - 1, CALM)
        for sampled in (False, True):
            for name, hours in HOURS.items():
                steps = Path(folder) / "steps.json" if sampled else None
                found[f"{name}, by step" if sampled else name] = run(hours[sampled], hours[sampled] + 1, steps)
        return found


def show(contacts: int, found: dict[str, dict[str, Cost]]) -> None:
    """A table of the hours, and one of their steps."""
    for name in ("first load", *HOURS):
        mine = found["this"][name]
        for release, costs in found.items():
            cost = costs[name]
            ratio = f"{mine.cpu / cost.cpu:.2f}" if release == "other" else ""
            print(
                f"{contacts:>9} {name:>15} {release:>8} {cost.cpu:>9.1f} s {cost.peak:>7.0f} MB {ratio:>8}", flush=True
            )
    for name in HOURS:
        sampled = {release: costs[f"{name}, by step"].steps for release, costs in found.items()}
        print(f"\n{contacts} contacts, {name}, seconds by step: {', '.join(sampled)}")
        for step in STEPS:
            print(f"{step:>24}" + "".join(f"{steps.get(step, 0.0):>8.2f}" for steps in sampled.values()))
        print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--against", help="Python of an environment with another release")
    given = parser.parse_args()
    releases = {"this": os.path.abspath(sys.executable)} | ({"other": given.against} if given.against else {})
    print(f"{'contacts':>9} {'':>15} {'release':>8} {'CPU':>11} {'peak':>10} {'ratio':>8}")
    for contacts in given.contacts:
        with tempfile.TemporaryDirectory() as folder:
            portal = Path(folder) / "portal.jsonl"
            size = ("--contacts", str(contacts), "--days", "30", "--out", str(portal))
            command(releases["this"], "generate-portal", *size)
            with_changes(portal)
            show(contacts, {name: measure(python, portal) for name, python in releases.items()})


if __name__ == "__main__":
    main()
