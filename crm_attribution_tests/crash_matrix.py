"""`make crash-matrix KILLS=10000 RACES=200 SEED=1`: deliveries killed at random points, and side by side.

Every round plans conversions at each destination found, kills deliveries at random points until one lives, and compares
what the platform counts with what the ledger says, by the business facts received. A race is the same with two to eight
deliveries at once, of which some are killed. One line of JSON per destination and one in all:

    lost        facts that were neither counted nor wait, and are not unknown
    doubled     facts counted more than once
    ghost       accepted in the ledger, not at the platform
    unrecorded  counted by the platform, neither accepted nor unknown in the ledger
    stuck       deliveries of a race that did not end in two minutes
    failed      deliveries of a race that ended neither well nor because another one held the warehouse too long
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
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from crm_attribution_tests import postgres
from crm_attribution_tests.delivery.killed import BUSY, POINTS, work
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox
from crm_attribution_tests.forked import CONTEXT
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.sandbox_process import Sandbox

FACTS = ["a", "b", "c", "d", "e"]
JUDGED = ("lost", "doubled", "ghost", "unrecorded")
RACED = ("stuck", "failed")
PATIENCE = 120.0


class Matrix:
    """Rounds of kills with one seed."""

    def __init__(self, sandbox: Sandbox, folder: Path, seed: int, url: str = "") -> None:
        self.sandbox, self.folder, self.url = sandbox, folder, url
        self.rng = random.Random(seed)

    def round(self, platform: str, number: int) -> tuple[int, Counter[str]]:
        """Kills in one round, and what is wrong at its end."""
        outbox = self._planned(f"{platform}{number}", platform)
        kills = 0
        for _ in range(self.rng.randint(1, 6)):
            kills += self.killed(outbox, self.rng.choice(POINTS), self.rng.choice((1, 1, 2, 3)))
        return kills, self._ended(outbox)

    def race(self, platform: str, number: int) -> Counter[str]:
        """What is wrong after two to eight deliveries at once; one in four dies on its way."""
        outbox = self._planned(f"{platform}-race{number}", platform)
        racers = []
        for _ in range(self.rng.randint(2, 8)):
            point = self.rng.choice(POINTS) if self.rng.random() < 0.25 else "never"
            racers.append(self._sender(outbox, point, 1))
        for racer in racers:
            racer.start()
        until = time.monotonic() + PATIENCE
        for racer in racers:
            racer.join(max(0.0, until - time.monotonic()))
        stuck = [racer for racer in racers if racer.exitcode is None]
        for racer in stuck:
            racer.kill()
            racer.join()
        failed = sum(racer.exitcode not in (0, BUSY, -signal.SIGKILL) for racer in racers)
        return self._ended(outbox) + Counter(stuck=len(stuck), failed=failed)

    def _planned(self, name: str, platform: str) -> Outbox:
        directory = self.folder / name
        new_warehouse(directory)
        url = postgres.new_database(self.url) if self.url else ""
        outbox = Outbox(directory, self.sandbox.env, SMALL[platform], url=url)
        outbox.plan(*FACTS)
        return outbox

    def _ended(self, outbox: Outbox) -> Counter[str]:
        outbox.now = NOW + timedelta(hours=1)
        outbox.deliver()
        outbox.deliver()
        return judged(outbox, outbox.counted(self.sandbox.received(outbox.emulator)["counted"], FACTS))

    def killed(self, outbox: Outbox, point: str, hit: int) -> bool:
        """Whether a delivery died at a point."""
        process = self._sender(outbox, point, hit)
        process.start()
        process.join(60)
        if process.exitcode not in (0, -signal.SIGKILL):
            raise AssertionError(f"a delivery ended with {process.exitcode} at {point}")
        return process.exitcode == -signal.SIGKILL

    def _sender(self, outbox: Outbox, point: str, hit: int) -> ForkServerProcess:
        given = (outbox.directory, dict(outbox.env), outbox.destination.name, outbox.tag, point, hit, outbox.url)
        return CONTEXT.Process(target=work, args=given)


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
    parser.add_argument("--races", type=int, default=200, help="over all destinations")
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
        for number in range(given.races):
            name = list(found)[number % len(found)]
            found[name].update(playing.race(name, number), races=1)
            if (number + 1) % 20 == 0:
                print(f"{number + 1} races", file=sys.stderr)
    figures = ("rounds", "kills", "races", *JUDGED, *RACED)
    for name, counts in found.items():
        print(json.dumps({"destination": name, **{kind: counts[kind] for kind in figures}}))
    total = sum(found.values(), Counter[str]())
    seconds = round(time.monotonic() - began)
    print(json.dumps({"seed": given.seed, "seconds": seconds, **{kind: total[kind] for kind in figures}}))
    return 1 if any(total[kind] for kind in (*JUDGED, *RACED)) else 0


if __name__ == "__main__":
    sys.exit(main())
