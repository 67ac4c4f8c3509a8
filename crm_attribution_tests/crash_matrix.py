"""`make crash-matrix KILLS=10000 SEED=1`: deliveries killed at random points, judged by the business facts received.

Every round plans conversions at each destination found, kills deliveries at random points until one lives, and compares
what the platform counts with what the ledger says. One line of JSON per destination and one in all:

    lost        facts that were neither counted nor wait, and are not unknown
    doubled     facts counted more than once
    ghost       accepted in the ledger, not at the platform
    unrecorded  counted by the platform, neither accepted nor unknown in the ledger
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

from crm_attribution_tests import postgres
from crm_attribution_tests.delivery.killed import POINTS, work
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox
from crm_attribution_tests.forked import CONTEXT
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.sandbox_process import Sandbox

FACTS = ["a", "b", "c", "d", "e"]
JUDGED = ("lost", "doubled", "ghost", "unrecorded")


class Matrix:
    """Rounds of kills with one seed."""

    def __init__(self, sandbox: Sandbox, folder: Path, seed: int, url: str = "") -> None:
        self.sandbox, self.folder, self.url = sandbox, folder, url
        self.rng = random.Random(seed)

    def round(self, platform: str, number: int) -> tuple[int, Counter[str]]:
        """Kills in one round, and what is wrong at its end."""
        directory = self.folder / f"{platform}{number}"
        new_warehouse(directory)
        url = postgres.new_database(self.url) if self.url else ""
        outbox = Outbox(directory, self.sandbox.env, SMALL[platform], url=url)
        outbox.plan(*FACTS)
        kills = 0
        for _ in range(self.rng.randint(1, 6)):
            kills += self.killed(outbox, self.rng.choice(POINTS), self.rng.choice((1, 1, 2, 3)))
        outbox.now = NOW + timedelta(hours=1)
        outbox.deliver()
        outbox.deliver()
        return kills, judged(outbox, outbox.counted(self.sandbox.received(outbox.emulator)["counted"], FACTS))

    def killed(self, outbox: Outbox, point: str, hit: int) -> bool:
        """Whether a delivery died at a point."""
        given = (outbox.directory, dict(outbox.env), outbox.destination.name, outbox.tag, point, hit, outbox.url)
        process = CONTEXT.Process(target=work, args=given)
        process.start()
        process.join(60)
        if process.exitcode not in (0, -signal.SIGKILL):
            raise AssertionError(f"a delivery ended with {process.exitcode} at {point}")
        return process.exitcode == -signal.SIGKILL


def judged(outbox: Outbox, counted: list[str]) -> Counter[str]:
    """What is wrong, by kind."""
    states = outbox.states()
    accepted = {name for name, state in states.items() if state in ("accepted", "processed")}
    unknown = {name for name, state in states.items() if state == "unknown"}
    waiting = {name for name, state in states.items() if state in ("pending", "held", "retry")}
    there = set(counted)
    return Counter(
        lost=len(set(FACTS) - there - unknown - waiting),
        doubled=len(counted) - len(there),
        ghost=len(accepted - there),
        unrecorded=len(there - accepted - unknown),
    )


@contextmanager
def matrix(seed: int, *, in_postgresql: bool = False) -> Iterator[Matrix]:
    """A matrix on a sandbox of its own."""
    server = postgres.server() if in_postgresql else nullcontext("")
    with tempfile.TemporaryDirectory() as folder, server as url, Sandbox.start([], NOW.isoformat()) as sandbox:
        yield Matrix(sandbox, Path(folder), seed, url)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true", help="the ledger in PostgreSQL")
    given = parser.parse_args()
    found = {name: Counter[str]() for name in SMALL}
    with matrix(given.seed, in_postgresql=given.postgresql) as playing:
        began, number = time.monotonic(), 0
        while sum(one["kills"] for one in found.values()) < given.kills:
            for name, counts in found.items():
                kills, wrong = playing.round(name, number)
                counts.update(wrong, kills=kills, rounds=1)
            number += 1
            if number % 20 == 0:
                print(f"{sum(one['kills'] for one in found.values())} kills", file=sys.stderr)
    for name, counts in found.items():
        print(json.dumps({"destination": name, **{kind: counts[kind] for kind in ("rounds", "kills", *JUDGED)}}))
    total = sum(found.values(), Counter[str]())
    seconds = round(time.monotonic() - began)
    print(json.dumps({"seed": given.seed, "seconds": seconds, "kills": total["kills"],
                      **{kind: total[kind] for kind in JUDGED}}))  # fmt: skip
    return 1 if any(total[kind] for kind in JUDGED) else 0


if __name__ == "__main__":
    sys.exit(main())
