"""Delivery of conversions of mixed quality beside a plain loop of `requests` that sends the same bodies.

    .venv/bin/python -m benchmarks.delivery [--conversions 100000] [--destinations meta,linkedin]

Prints per destination: requests ÷ the least its limits allow, time of the plain loop ÷ time of the delivery (both
against the same sandbox in one run), requests that the platform refused for what could have been known before, and the
peak memory of the process. Compare ratios only.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import requests
from rich.console import Console
from rich.table import Table

from crm_attribution.configuration import load
from crm_attribution.delivery.deliver import transport_for
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Resolved
from crm_attribution.http.answers import Answer
from crm_attribution.http.transport import Transport
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.delivery.outbox import NOW, RULES, Outbox, resolved
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.sandbox_process import Sandbox

CHUNK = 5_000


@dataclass
class Kept:
    """The transport, with what it was given and how it was answered."""

    transport: Transport
    sent: list[tuple[str, Any, Mapping[str, str]]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def send_once(self, method: str, path: str, **options: Any) -> Answer:
        answer = self.transport.send_once(method, path, **options)
        if method == "POST":
            self.sent.append((path, options["json"], options.get("headers") or {}))
            self.statuses[answer.status] += 1
        return answer


class Mixed(Outbox):
    """Of a hundred conversions three have no consent, two no identifier, two are too old, one has no value."""

    def resolve(self, _: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        found = {}
        for key, name in rows.select("conversion_id", "milestone_id").iter_rows():
            quality = int(name.rpartition("-")[2]) % 100
            person = resolved(name)
            if quality < 3:
                person = resolved(name, consent="denied" if quality else "absent")
            elif quality < 5:
                person = resolved(name, email="nobody", click_id=None, clicked_at=None)
            found[key] = person
        return found


def _planned(outbox: Mixed, conversions: int) -> None:
    names = [f"f-{number}" for number in range(conversions)]
    good = [name for number, name in enumerate(names) if not 5 <= number % 100 < 8]
    old = [name for number, name in enumerate(names) if 5 <= number % 100 < 7]
    without = [name for number, name in enumerate(names) if number % 100 == 7]
    for start in range(0, len(good), CHUNK):
        outbox.plan(*good[start : start + CHUNK])
    outbox.plan(*old, occurred_at=NOW - outbox.destination.limits.max_age - timedelta(days=1))
    outbox.plan(*without, value=None, currency=None)


def _delivered(sandbox: Sandbox, folder: Path, name: str, conversions: int) -> tuple[str, ...]:
    calm = RULES.conversions.volume_guard.model_copy(update={"floor": 10**9})
    rules = RULES.model_copy(update={"conversions": RULES.conversions.model_copy(update={"volume_guard": calm})})
    outbox = Mixed(new_warehouse(folder / name).directory, sandbox.env, destinations()[name], tag="")
    _planned(outbox, conversions)
    kept = Kept(transport_for(outbox.destination, load(sandbox.env)))
    began = time.perf_counter()
    report = outbox.deliver(transport=kept, rules=rules)
    ours = time.perf_counter() - began
    base = kept.transport.base_url
    headers = {} if outbox.destination.grant(outbox.values) is None else kept.sent[0][2]
    began = time.perf_counter()
    with requests.Session() as session:
        for path, body, given in kept.sent:
            session.post(f"{base}{path}", json=body, headers={**given, **headers}, timeout=60)
    plain = time.perf_counter() - began
    refused = sum(count for status, count in kept.statuses.items() if status >= 400)
    states = ", ".join(f"{count} {state}" for state, count in report.counts.items())
    return (name, f"{report.requests / max(report.least, 1):.3f}", f"{plain / ours:.2f}", str(refused),
            f"{conversions / ours:,.0f}", states)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversions", type=int, default=100_000)
    parser.add_argument("--destinations", default=",".join(destinations()))
    given = parser.parse_args()
    table = Table("destination", "requests ÷ least", "plain ÷ ours", "refused requests", "conversions/s", "states")
    with TemporaryDirectory() as folder, Sandbox.start([], NOW.isoformat()) as sandbox:
        for name in given.destinations.split(","):
            table.add_row(*_delivered(sandbox, Path(folder), name, given.conversions))
    Console().print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{given.conversions} conversions each; peak memory of this process {peak:,.0f} MB")


if __name__ == "__main__":
    main()
