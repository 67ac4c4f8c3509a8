"""Calls of extraction against the minimum, its speed and its memory.

    .venv/bin/python -m benchmarks.extraction [--quick] [--peers DIR]

`make bench-peers` puts `dlt` and `tap-hubspot` into build/peers. Times are processor seconds of the process that
extracts, so that other load on the machine hardly shows; compare ratios only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.extraction_scenarios import in_a_company, on_one_stamp
from crm_attribution.clock import iso
from crm_attribution.mapping import load
from crm_attribution_tests.raw.portal import minute
from crm_attribution_tests.sandbox_process import Sandbox

HERE = Path(__file__).parent
CLOCK = iso(minute(2000))
PEERS = ("dlt", "tap-hubspot")
TICKS = 100.0

Row = tuple[str, str, str, str]


def lines(contacts: int) -> Iterator[dict[str, Any]]:
    """A portal as it is read from a file: contacts with a company, and a second stage each."""
    companies = max(1, contacts // 20)
    for n in range(companies):
        given = {"name": f"Company {n}", "domain": f"c{n}.example"}
        yield _create(1, "companies", 9_000_000 + n, given)
    for n in range(1, contacts + 1):
        named = {"firstname": f"First {n}", "lastname": f"Last {n}", "email": f"p{n}@c.example"}
        yield _create(60 + n / 60_000, "contacts", n, named | {"lifecyclestage": "lead"})
    for n in range(1, contacts + 1):
        ends = {"from": ["contacts", str(n)], "to": ["companies", str(9_000_000 + n % companies)]}
        yield {"at": iso(minute(500)), "op": "associate", **ends}
    for n in range(1, contacts + 1):
        staged = {"lifecyclestage": "marketingqualifiedlead"}
        yield _create(600 + n / 60_000, "contacts", n, staged) | {"op": "update"}


def _create(at: float, kind: str, number: int, properties: dict[str, str]) -> dict[str, Any]:
    line = {"at": iso(minute(at)), "op": "create", "object": kind, "id": str(number)}
    return {**line, "source": "CRM_UI", "properties": properties}


def calls(quick: bool) -> Iterator[Row]:
    """Calls by scenario."""
    company = in_a_company(2_000 if quick else 20_000)
    for result in chain(company, on_one_stamp(25_000, 4_000)):
        verdict = "" if result.ratio <= result.goal + 1e-9 else "  MISSED"
        wrong = f"{result.wrong} WRONG ROWS" if result.wrong else "no row wrong"
        counted = f"{result.calls} of {result.minimum} calls, {wrong}"
        yield f"calls: {result.name}", f"{result.ratio:.3f}", f"{result.goal:g}{verdict}", counted


def _run(command: Iterable[str]) -> dict[str, Any]:
    """The JSON of a child's last line."""
    done = subprocess.run([*command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(list(command)[:3])}: {done.stderr[-2000:]}")
    last = next(line for text in (done.stdout, done.stderr) for line in reversed(text.splitlines()) if '"rows"' in line)
    found: dict[str, Any] = json.loads(last)
    return found


def ours(sandbox: Sandbox) -> dict[str, Any]:
    """A first load of the contacts in a separate process."""
    with TemporaryDirectory() as folder:
        child = [sys.executable, "-m", "benchmarks.extraction_child"]
        return _run([*child, sandbox.base_url, sandbox.env["HUBSPOT_ACCESS_TOKEN"], folder, CLOCK])


def theirs(sandbox: Sandbox, peers: Path, name: str) -> dict[str, Any] | None:
    """The same by another tool, current values only; None where it is not installed."""
    python = peers / name / "bin" / "python"
    if not python.exists():
        return None
    rules = load()
    properties = ["email", "firstname", "lastname", "lifecyclestage", *rules.properties.contacts]
    with TemporaryDirectory() as folder:
        child = [str(python), str(HERE / "extraction_peers.py"), name, sandbox.base_url]
        return _run([*child, sandbox.env["HUBSPOT_ACCESS_TOKEN"], folder, ",".join(dict.fromkeys(properties))])


def _processor(process: int) -> float:
    """Seconds a process has computed, from Linux's /proc."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def speed(size: int, peers: Path) -> Iterator[Row]:
    """Rows per second with limits off, next to other tools on the same sandbox."""
    with Sandbox.start(lines(size), CLOCK) as sandbox:
        before = _processor(sandbox.process.pid)
        mine = ours(sandbox)
        served = _processor(sandbox.process.pid) - before
        rate = mine["rows"] / mine["cpu"]
        text = f"{rate:,.0f} rows a processor second, {mine['rows'] / mine['seconds']:,.0f} a second by the wall"
        yield f"speed: {size:,} with history, merges, associations", "1.00", "", text
        share = served / (served + mine["cpu"])
        yield "the sandbox's share of all processor seconds", f"{share:.2f}", "", "the rest is ours"
        for name in PEERS:
            found = theirs(sandbox, peers, name)
            if found is None:
                yield f"speed: {name}", "-", "", f"not installed in {peers}; make bench-peers"
                continue
            other = found["rows"] / found["cpu"]
            text = f"{other:,.0f} rows a processor second, {found['rows'] / found['seconds']:,.0f} by the wall"
            yield f"speed: {name}, current values of {found['rows']:,}", f"{other / rate:.2f}", "", text


def memory(small: int, large: int) -> Iterator[Row]:
    """Peak memory and the cost of a chunk, in a portal and in one ten times its size."""
    found = []
    for size in (small, large):
        with Sandbox.start(lines(size), CLOCK) as sandbox:
            found.append(ours(sandbox))
    less, more = (one["kilobytes"] for one in found)
    verdict = "" if more <= 1.2 * less else "  MISSED"
    yield (
        f"peak memory: {large:,} ÷ {small:,} contacts",
        f"{more / less:.2f}",
        f"1.2{verdict}",
        f"{more / 1024:.0f} MiB ÷ {less / 1024:.0f} MiB",
    )
    rates = [one["rows"] / one["cpu"] for one in found]
    yield f"speed: {large:,} ÷ {small:,} contacts", f"{rates[1] / rates[0]:.2f}", "", "1 where a load is linear"
    grown = found[1]["slowdown"]
    yield f"cost of a thousand: last tenth ÷ first, of {large:,}", f"{grown:.2f}", "", "processor seconds of storing"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.extraction", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller portals: a minute instead of several")
    parser.add_argument("--peers", type=Path, default=Path("build/peers"), help="where make bench-peers installed")
    parser.add_argument("--only", choices=("calls", "speed", "memory"), action="append", help="not all of it")
    asked = parser.parse_args()
    only = asked.only or ["calls", "speed", "memory"]
    table = Table("what", "ratio", "goal", "figures", title="Extraction")
    parts = {
        "calls": lambda: calls(asked.quick),
        "speed": lambda: speed(5_000 if asked.quick else 20_000, asked.peers),
        "memory": lambda: memory(*((5_000, 20_000) if asked.quick else (20_000, 200_000))),
    }
    console = Console(width=None if sys.stdout.isatty() else 160)
    with console.status("measuring") as status:
        for name in only:
            for row in parts[name]():
                status.update(row[0])
                table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
