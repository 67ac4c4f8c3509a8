"""How well the deterministic rules find persons: pair precision and recall on made-up contacts whose persons are known.

Usage: python benchmarks/identity_quality.py [persons, by default 2000]

The corruption model: a person has 1 contact (60%), 2 (30%) or 3 (10%). A further contact of a person has the same
e-mail as further address (35%), the same e-mail in its history (20%), the same e-mail in other case (15%), a click id
in common (10%: click ids never join two live contacts, which is the price of not joining colleagues), or nothing in
common (20%: no deterministic rule can find these). Of all persons 2% write from their firm's role mailbox, 5% are
couples with one address (joined: the rules' known error), and 5% forward a mail, so that a colleague submits a form
with their click id. Nothing is asserted.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from crm_attribution.layers import IDENTITY, run
from crm_attribution.mapping import load
from crm_attribution.warehouse.connection import Warehouse

START = datetime(2026, 1, 1, tzinfo=UTC)


class Portal:
    """Contacts of known persons, as raw rows."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.contacts: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.clicks: list[dict[str, Any]] = []
        self.forms: list[dict[str, Any]] = []
        self.truth: dict[str, int] = {}

    def contact(self, person: int, email: str, *, further: list[str] | None = None, gclid: str | None = None) -> str:
        number = str(1000 + len(self.contacts))
        stamp = START + timedelta(minutes=len(self.contacts))
        properties = "{}" if gclid is None else f'{{"hs_google_click_id": "{gclid}"}}'
        self.contacts.append(
            {"id": number, "properties": properties, "created_at": stamp, "modified_at": stamp, "archived": False,
             "merged_ids": [], "extracted_at": stamp, "email": email, "additional_emails": further or []}
        )  # fmt: skip
        self.truth[number] = person
        return number

    def former(self, contact: str, email: str) -> None:
        self.history.append(
            {"object_type": "contacts", "object_id": contact, "property": "email", "value": email, "ordinal": 0,
             "timestamp": START, "history_truncated": False, "extracted_at": START}
        )  # fmt: skip

    def person(self, number: int) -> None:
        dice = self.chance.random()
        own = f"p{number}@firm{number % 700}.example"
        first = (
            f"info@firm{number % 700}.example"
            if dice < 0.02
            else f"couple{number // 2}@home.example"
            if number % 40 < 2
            else own
        )
        gclid = f"G{number}"
        self.contact(number, first, gclid=gclid)
        if dice > 0.95:
            stamp = START + timedelta(days=1)
            self.forms.append({"form_id": "f", "conversion_id": str(number), "submitted_at": stamp, "gclid": gclid,
                               "email": f"p{number - 1}@firm{(number - 1) % 700}.example",
                               "extracted_at": stamp})  # fmt: skip
        for more in range(self.chance.choices([0, 1, 2], [60, 30, 10])[0]):
            self._further(number, more, first, gclid)

    def _further(self, number: int, more: int, first: str, gclid: str) -> None:
        kind = self.chance.choices(["additional", "history", "written", "click", "nothing"], [35, 20, 15, 10, 20])[0]
        other = f"q{number}.{more}@other{number % 300}.example"
        if kind == "additional":
            self.contact(number, other, further=[first])
        elif kind == "history":
            self.former(self.contact(number, other), first)
        elif kind == "written":
            self.contact(number, first.upper())
        else:
            self.contact(number, other, gclid=gclid if kind == "click" else None)


def pairs(groups: Counter[Any]) -> int:
    return sum(size * (size - 1) // 2 for size in groups.values())


def main() -> None:
    portal = Portal(7)
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000):
        portal.person(number)
    with tempfile.TemporaryDirectory() as folder, Warehouse(Path(folder)).session() as session:
        for table, rows in (
            ("raw.contact", portal.contacts),
            ("raw.property_history", portal.history),
            ("raw.form_submission", portal.forms),
        ):
            session[table].append(pl.DataFrame(rows, infer_schema_length=None))
        facts = run(IDENTITY, session, load(), START + timedelta(days=30)).figures
        found = dict(
            session.query(
                "SELECT identifier, person_id FROM identity.alias WHERE identifier_type = 'contact'"
            ).iter_rows()
        )
    right = pairs(Counter((found[contact], person) for contact, person in portal.truth.items()))
    claimed, true = pairs(Counter(found.values())), pairs(Counter(portal.truth.values()))
    print(
        f"{len(portal.contacts):,} contacts of {len(set(portal.truth.values())):,} persons; found {facts['persons']:,}"
    )
    print(f"pair precision {right / claimed:.3f}, pair recall {right / true:.3f}")
    for name, count in facts.items():
        if name.startswith("rejected"):
            print(f"  {name}: {count}")


if __name__ == "__main__":
    main()
