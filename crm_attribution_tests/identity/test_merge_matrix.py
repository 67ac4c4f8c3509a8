"""A merge before, between and after each lifecycle step and each upload, in both regimes, with twins and in chains.

Every cell is one buying person with two or three contact records, one company and one deal. Wherever the merge falls,
each milestone is there once at the end, no event is added, renamed or lost by it, and no conversion either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from crm_attribution import configuration
from crm_attribution.clock import iso
from crm_attribution.conversions import mirror
from crm_attribution.conversions import plan as conversions
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution_tests.flow.chain import Chain, differences, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import create, day, join, merge, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = pytest.mark.sandbox

STEPS = ["lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer"]
PERSONAL = {"Lead": 0, "QualifiedLead": 1, "SalesQualifiedLead": 2}
"""Action -> the step that makes its milestone, told by each record of the person."""

SLOTS = range(2 * len(STEPS))
"""Slot 2s: after step s is known and before its upload. Slot 2s + 1: after its upload, before step s + 1."""

RULES = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead}
      - {milestone: qualified_lead, action: QualifiedLead}
      - {milestone: sales_qualified_lead, action: SalesQualifiedLead}
      - {milestone: opportunity_created, action: Opportunity}
      - {milestone: customer_won, action: Purchase, value: amount}
"""
GIVEN = configuration.load(
    {"META_ACCESS_TOKEN": "t", "META_DATASET_ID": "d", "CRM_ATTRIBUTION_START": "2026-03-01T00:00:00Z"}
)


def stamp(step: int, time: str) -> str:
    return day(2 + 3 * step, time)


@dataclass(frozen=True)
class Cell:
    """One person; `kind` is pair, twins (their stages change at the same millisecond) or chain (three records)."""

    number: int
    slot: int
    third: bool
    kind: str

    @property
    def merges(self) -> list[tuple[int, int, int, int | None]]:
        """(slot, primary, merged, into): of a chain the second merge falls into the next slot."""
        base = 100 * self.number
        into = (base + 11, base + 12) if self.third else (None, None)
        found: list[tuple[int, int, int, int | None]] = [(self.slot, base + 1, base + 2, into[0])]
        if self.kind == "chain":
            survivor = into[0] or base + 1
            found.append((min(self.slot + 1, SLOTS[-1]), base + 3, survivor, into[1]))
        return found

    def lines(self) -> Iterator[Line]:
        base = 100 * self.number
        records = [1, 2, 3] if self.kind == "chain" else [1, 2]
        yield create(day(1), "companies", base, name=f"C{base}")
        for record in records:
            yield create(day(1, "10:00:00"), "contacts", base + record, "FORM", email=f"c{base + record}@buyer.example")
            yield join(day(1, "10:00:01"), ("contacts", base + record), ("companies", base))
        gone: dict[int, int] = {merged - base: slot for slot, _, merged, _ in self.merges}
        for number, stage in enumerate(STEPS):
            if stage == "opportunity":
                yield create(stamp(number, "08:59:00"), "deals", base, dealname=f"D{base}", dealstage="contractsent")
                yield join(stamp(number, "08:59:00"), ("deals", base), ("companies", base))
                yield join(stamp(number, "08:59:00"), ("deals", base), ("contacts", base + 1))
            if stage == "customer":
                yield update(stamp(number, "08:59:00"), "deals", base, dealstage="closedwon")
            for record in records:
                if record == 1 or gone.get(record, len(SLOTS)) >= 2 * number:
                    second = 0 if self.kind == "twins" else record
                    yield update(stamp(number, f"09:00:0{second}"), "contacts", base + record, lifecyclestage=stage)
        for order, (slot, primary, merged, into) in enumerate(self.merges):
            when = stamp(slot // 2, f"{'13' if slot % 2 else '10'}:0{order}:00")
            yield merge(when, "contacts", primary, merged, into)


CELLS = [
    Cell(number, slot, third, kind)
    for number, (slot, third, kind) in enumerate(product(SLOTS, [False, True], ["pair", "twins", "chain"]), 1)
]


class Office:
    """A chain that plans after each run and uploads when told to; it watches that no known event is ever lost."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.known: dict[str, str] = {}
        self.last = at(day(1))

    def run(self, clock: str) -> None:
        self.chain.advance(clock, since=self.last)
        now = at(clock)
        with self.chain.warehouse.session() as session:
            conversions.update(session, self.chain.ledger, self.chain.mapping, GIVEN, now)
            rows = session.query("SELECT event_id, event, observed_at FROM events.event")
        self._watch(rows)
        self.last = now

    def _watch(self, rows: pl.DataFrame) -> None:
        told = {row["event_id"]: row["event"] for row in rows.rows(named=True)}
        assert {key: told.get(key) for key in self.known} == self.known, "an event is lost or renamed"
        older = rows.filter(pl.col("observed_at") < self.last)["event_id"]
        assert set(older) <= set(self.known), "an event of before is added"
        self.known = told

    def upload(self, now: datetime) -> None:
        with self.chain.ledger.writing() as book:
            due = book.read(CONVERSION).filter((pl.col("state") == "pending") & (pl.col("ready_at") < now))
            done = [{"conversion_id": key, "state": "accepted", "attempts": 1} for key in due["conversion_id"]]
            book.update(CONVERSION, done)
        with self.chain.warehouse.session() as session:
            assert mirror.ready(session, self.chain.ledger) is None


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder: Path = tmp_path_factory.mktemp("merges")
    lines = sorted((line for cell in CELLS for line in cell.lines()), key=lambda line: str(line["at"]))
    with Chain.start(folder, lines, day(1, "12:00:00"), rules(folder, RULES)) as chain:
        office = Office(chain)
        for number in range(len(STEPS)):
            office.run(stamp(number, "09:30:00"))
            office.run(stamp(number, "11:00:00"))
            office.upload(at(stamp(number, "12:00:00")))
        office.run(day(30))
        office.upload(at(day(30)))
        yield office


def _cells(office: Office, table: str, wanted: dict[str, int | str]) -> dict[int, Counter[str]]:
    """How many rows of each milestone or action every cell has."""
    persons = {row["person_id"]: int(row["root_contact_id"]) // 100 for row in office.chain.table("identity.person")}
    cells = {
        (row["milestone"], row["milestone_id"]): row["deal_id"] // 100 if row["deal_id"] else persons[row["person_id"]]
        for row in office.chain.table("events.milestone")
    }
    milestone = {
        row["event_id"]: cells[row["milestone"], row["milestone_id"]]
        for row in office.chain.table("events.milestone_event")
    }
    found = {cell.number: Counter[str]() for cell in CELLS}
    for row in office.chain.table(table):
        if all(row[name] == value for name, value in wanted.items()):
            found[milestone[row["milestone_id"]]][row.get("action") or row["milestone"]] += 1
    return found


def test_every_milestone_is_there_once_wherever_the_merge_falls(office: Office) -> None:
    once = dict.fromkeys(
        [
            "lead_captured",
            "qualified_lead",
            "sales_qualified_lead",
            "opportunity_created",
            "proposal_sent",
            "customer_won",
        ],
        1,
    )
    found = _cells(office, "events.milestone", {})
    assert {cell.number: dict(found[cell.number]) for cell in CELLS} == {cell.number: once for cell in CELLS}


def test_no_conversion_is_created_or_lost(office: Office) -> None:
    """Sent once per person there was when it was sent: two or three before the merges, one after them."""
    sent = _cells(office, "conversions.conversion", {"state": "accepted"})
    for cell in CELLS:
        expected = {"Opportunity": 1, "Purchase": 1}
        for action, step in PERSONAL.items():
            expected[action] = 1 + sum(slot > 2 * step for slot, *_ in cell.merges)
        assert dict(sent[cell.number]) == expected, cell
    left = {(row["state"], row["reason"]) for row in office.chain.table("conversions.conversion")}
    assert left == {("accepted", None), ("suppressed", "duplicate")}


def test_a_rebuild_ends_where_the_increments_did(office: Office) -> None:
    before = office.chain.dump()
    office.chain.rebuild()
    assert differences(before, office.chain.dump()) == []
    assert iso(office.last) == iso(at(day(30)))
