"""Held conversions are looked at again when something they stand on has changed, and then end as if all had been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crm_attribution import configuration
from crm_attribution.clock import FixedClock
from crm_attribution.conversions import plan as conversions
from crm_attribution.conversions.recipients import resolver
from crm_attribution.delivery.claiming import Claiming
from crm_attribution.delivery.context import Delivery
from crm_attribution.delivery.looking import Looking
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.delivery.rules import Policy
from crm_attribution.destinations import destinations
from crm_attribution.destinations.accounts import OWN, accounts
from crm_attribution.destinations.base import Resolved
from crm_attribution.ledger.mark import Stand
from crm_attribution.ledger.store import Ledger
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import Chain
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import create, day, join, merge, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

SETTINGS = configuration.load(
    {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "dataset", "CRM_ATTRIBUTION_START": "2026-03-01T00:00:00Z"}
)
META = destinations()["meta"]
MINE = accounts(META, [OWN], SETTINGS)[0]
ASKED: list[int] = []
"""How many rows each look resolved."""


def won(number: int, *contacts: int) -> list[Line]:
    made = create(day(2), "deals", number, dealname=f"D{number}", dealstage="closedwon", amount="10",
                  billing_period="annual")  # fmt: skip
    return [made, *(join(day(2), ("deals", number), ("contacts", contact)) for contact in contacts)]


def contact(number: int, **properties: str) -> Line:
    return create(day(1), "contacts", number, email=f"c{number}@buyer.example", **properties)


def select(chain: Chain, ledger: Ledger, session: Session, end: datetime, looking: Looking | None) -> tuple[Any, ...]:
    """What a delivery would send, and the states and reasons of the rest."""
    resolve = resolver(META, chain.mapping)

    def counted(session: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        ASKED.append(rows.height)
        return resolve(session, rows)

    delivery = Delivery(MINE, chain.mapping, FixedClock(end), Policy(), lambda _: None,
                        DeliveryReport("meta"))  # fmt: skip
    ASKED.append(0)
    Claiming(delivery, ledger, counted, looking).select(session, end)
    return sorted(key for batch in delivery.queue for key in batch), delivery.report.reasons, delivery.report.counts


def look(chain: Chain, clock: str, since: str | None = None) -> tuple[int, dict[str, int]]:
    """An hour up to the sinks: how many rows were looked at of those that a full look looks at, and their reasons."""
    chain.advance(clock, None if since is None else at(since))
    end, ledger = at(clock), chain.ledger
    with chain.warehouse.session() as session:
        session.state.watermark = end
        conversions.update(session, ledger, chain.mapping, SETTINGS, end)
        with ledger.dry_run():
            full = select(chain, ledger, session, end, None)
        narrow = select(chain, ledger, session, end, Looking(MINE, chain.mapping))
        asked = ASKED[-1]
        assert narrow == full
        return asked, narrow[1]


def test_what_is_held_is_looked_at_when_its_reason_may_have_gone(tmp_path: Path) -> None:
    lines = [
        *(contact(number) for number in range(1, 8)),
        *(line for number in range(1, 8) for line in won(number, number)),
        *won(20),
        contact(30, ad_consent="granted"),
        update(day(3, "10:30:00"), "contacts", 2, ad_consent="granted"),
        join(day(3, "11:30:00"), ("deals", 20), ("contacts", 30)),
        merge(day(3, "12:30:00"), "contacts", 3, 30),
    ]
    lines.sort(key=lambda line: str(line["at"]))
    with Chain.start(tmp_path, lines, day(3, "09:00:00")) as chain:
        asked, first = look(chain, day(3, "10:00:00"))
        assert asked >= 8
        assert first
        assert look(chain, day(3, "10:10:00"), day(3, "10:00:00"))[0] == 0  # nothing has changed
        asked, reasons = look(chain, day(3, "11:00:00"), day(3, "10:10:00"))
        assert 0 < asked < 8
        assert sum(reasons.values()) < sum(first.values())  # consent came
        asked, _ = look(chain, day(3, "12:00:00"), day(3, "11:00:00"))
        assert 0 < asked < 8
        look(chain, day(3, "13:00:00"), day(3, "12:00:00"))
        assert look(chain, day(3, "13:10:00"), day(3, "13:00:00"))[0] < 8
        assert look(chain, day(4, "00:10:00"), day(3, "13:10:00"))[0] >= 8  # once a day
        with chain.warehouse.session() as session, chain.ledger.reading() as book:
            mine = Looking.of(MINE, chain.mapping)
            assert mine is not None
            end = at(day(4, "01:00:00"))
            assert mine.again(session, book.stand, end) is not None
            assert mine.again(session, Stand("another ledger", 99), end) is None
            assert mine.again(session, Stand(book.stand.ledger, 0), end) is None  # an older one, put back
            assert mine.again(session, book.stand, at(day(3, "13:00:00"))) is None  # an hour of before, run again
            assert Looking(replace(MINE, id="another account"), chain.mapping).again(session, book.stand, end) is None
