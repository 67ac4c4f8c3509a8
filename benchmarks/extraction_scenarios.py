"""Days of a portal and the fewest calls they can be read with, by formula alone: the product's own minimum is not used.

N changed records of one object: ⌈N/200⌉ searches, one at least, and ⌈N/50⌉ batch reads; ⌈N/1000⌉ for each pair of
associated objects, the hourly rotation of associations included: it has its configured calls, the first of which it
shares with changed records where they leave it room. All T records: ⌈T/50⌉ pages, ⌈T/1000⌉ for each pair, and one call
that shows that the archive is empty. Where listing is cheaper than reading by id, the minimum is one search and the
listing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from crm_attribution_tests.raw.portal import Portal, Reading, minute

PAIRS = {"contacts": 1, "companies": 1, "deals": 2}
"""contacts to companies; companies to companies; deals to contacts and to companies."""


def listing(kind: str, total: int) -> int:
    """All records of an object and that its archive is empty."""
    return max(1, ceil(total / 50)) + PAIRS[kind] * ceil(total / 1000) + 1


def changed(kind: str, number: int, total: int, rotation: int) -> int:
    """`number` of `total` records changed; `rotation` association calls a pair."""
    associations = ceil((number + 1) / 1000) + rotation - 1 if rotation else ceil(number / 1000)
    by_id = max(1, ceil(number / 200)) + ceil(number / 50) + PAIRS[kind] * associations
    return min(by_id, 1 + listing(kind, total))


@dataclass(frozen=True)
class Result:
    """What a scenario cost.

    Attributes:
        name: what happened.
        calls: HTTP requests as the sandbox counted them.
        minimum: the fewest that could do.
        goal: the ratio that is aimed at.
        wrong: rows missing, duplicated or wrong afterwards.
    """

    name: str
    calls: int
    minimum: int
    goal: float
    wrong: int

    @property
    def ratio(self) -> float:
        return self.calls / self.minimum


class Days:
    """One portal that lives through the hours."""

    def __init__(self, reading: Reading, portal: Portal, now: datetime) -> None:
        self.reading, self.portal, self.now = reading, portal, now
        self.rotation = reading.rules.extraction.association_calls

    def load(self, name: str, *kinds: str) -> Result:
        calls = self.reading.read(None, *kinds)
        return self._result(name, calls, sum(listing(kind, self.total(kind)) for kind in calls), 1.05)

    def hour(self, name: str, numbers: Mapping[str, int], change: Callable[[datetime], None], to: float) -> Result:
        """`change` happens in the middle of an hour; `numbers` are the changed records of each object type."""
        since = self.now
        at = int((since - minute(0)).total_seconds()) // 60
        change(minute(at + 30))
        self.now = minute(at + 60)
        self.reading.play(self.portal, self.now)
        calls = self.reading.read(since, *numbers)
        minimum = sum(changed(kind, number, self.total(kind), self.rotation) for kind, number in numbers.items())
        return self._result(name, calls, minimum, to)

    def total(self, kind: str) -> int:
        return sum(1 for key in self.portal.records if key[0] == kind)

    def _result(self, name: str, calls: Mapping[str, Mapping[str, int]], minimum: int, goal: float) -> Result:
        # How associations follow a merge is not in the log, so they cannot be compared after one.
        problems = [p for p in self.reading.problems(self.portal) if not (self.portal.merges and p[:5] == "assoc")]
        made = sum(count for routes in calls.values() for count in routes.values())
        return Result(name, made, minimum, goal, len(problems))


def company(contacts: int) -> Portal:
    """Contacts, a twentieth as many companies, a hundredth as many deals, all associated; fewer companies and deals
    than the rotation covers in an hour."""
    portal = Portal()
    companies, deals = min(900, contacts // 20), min(900, contacts // 100)
    for n in range(companies):
        portal.create(minute(10), "companies", 9_000_000 + n, name=f"Company {n}", domain=f"c{n}.example")
    for n in range(1, contacts + 1):
        portal.create(minute(60), "contacts", n, email=f"p{n}@c.example", lifecyclestage="lead")
    for n in range(1, deals + 1):
        portal.create(minute(200), "deals", 8_000_000 + n, dealname=f"D{n}", dealstage="contractsent", amount=f"{n}00")
    for n in range(1, contacts + 1):
        portal.associate(minute(300), ("contacts", str(n)), ("companies", str(9_000_000 + n % companies)))
    for n in range(1, deals + 1):
        portal.associate(minute(300), ("deals", str(8_000_000 + n)), ("contacts", str(n)))
        portal.associate(minute(300), ("deals", str(8_000_000 + n)), ("companies", str(9_000_000 + n % companies)))
    return portal


@contextmanager
def _days(portal: Portal, clock: datetime) -> Iterator[Days]:
    with TemporaryDirectory() as folder, Reading.of(Path(folder), portal, clock) as reading:
        yield Days(reading, portal, clock)


def in_a_company(size: int) -> Iterator[Result]:
    """First load, an idle hour, changes of every share, an edit of associations, a chain of merges."""
    portal = company(size)

    def stage(first: int, number: int, value: str) -> Callable[[datetime], None]:
        def change(at: datetime) -> None:
            for n in range(first, first + number):
                portal.update(at, "contacts", n, lifecyclestage=value)

        return change

    def edit(at: datetime) -> None:
        portal.dissociate(at, ("deals", "8000003"), ("contacts", "3"))
        portal.associate(at, ("deals", "8000003"), ("contacts", "4"))

    def merge(at: datetime) -> None:
        portal.merge(at, "contacts", "101", "102", "9900001")
        portal.merge(at, "contacts", "9900001", "103", "9900002")
        portal.merge(at, "contacts", "104", "105")

    idle = dict.fromkeys(PAIRS, 0)
    with _days(portal, minute(400)) as days:
        yield days.load(f"first load of {size:,}")
        yield days.hour("idle hour", idle, lambda _: None, 1.0)
        yield days.hour("0.1 % changed", {"contacts": size // 1000}, stage(200, size // 1000, "customer"), 1.05)
        yield days.hour("5 % changed", {"contacts": size // 20}, stage(400, size // 20, "opportunity"), 1.05)
        yield days.hour("associations only", {"deals": 0}, edit, 1.05)
        yield days.hour("merge chain", {"contacts": 2}, merge, 1.05)


def on_one_stamp(size: int, part: int) -> Iterator[Result]:
    """A bulk import, then a bulk change of a part of it."""
    portal = Portal()

    def imported(at: datetime) -> None:
        for n in range(1, size + 1):
            portal.create(at, "contacts", n, email=f"p{n}@c.example", lifecyclestage="lead")

    def edited(at: datetime) -> None:
        for n in range(1, part + 1):
            portal.update(at, "contacts", n, lifecyclestage="opportunity")

    with _days(portal, minute(60)) as days:
        days.load("an empty portal", "contacts")
        yield days.hour(f"{size:,} on one timestamp", {"contacts": size}, imported, 1.05)
        yield days.hour(f"{part:,} of {size:,} on one timestamp", {"contacts": part}, edited, 1.05)
