"""Which months are closed and reopened, and what stands against it: on a warehouse of a few rows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.errors import ConfigurationError
from crm_attribution.finance import periods
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at

pytestmark = pytest.mark.warehouse

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
NOW = at("2026-04-02T10:00:00Z")
WHY = ("Ida", "the books are done")
PLAIN = {pl.String: "x", pl.Int64: 0, pl.Boolean: False, pl.Date: JANUARY, pl.Datetime: NOW}


def stored(session: Session, table: str, *rows: dict[str, Any]) -> None:
    contract = CONTRACTS[table]
    plain = {one.name: PLAIN[type(one.dtype)] for one in contract.columns if not one.nullable}
    session[table].upsert(pl.DataFrame([{**plain, **row} for row in rows], schema=contract.polars_schema))


def fact(name: str, day: date, currency: str, rate: str | None, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    key = {"milestone": "customer_won", "milestone_id": name}
    row = {**key, "booked_on": day, "currency": currency, "amount_current": 5, "state": "live", "subject": "account"}
    return {**row, **more}, {**key, "currency": currency, "home_currency": "EUR", "rate": rate}


@pytest.fixture
def books(session: Session) -> Session:
    session.state.watermark = NOW
    facts = [
        fact("a", JANUARY.replace(day=31), "USD", "0.9"),
        fact("b", FEBRUARY, "USD", None),
        fact("c", FEBRUARY, "GBP", None),
        fact("d", JANUARY, "SEK", None, suppressed_by="rule"),
        fact("e", JANUARY, "NOK", None, state="reversed", reason="archived"),
        fact("f", MARCH, "EUR", "1"),
    ]
    stored(session, "events.milestone", *(row for row, _ in facts))
    moved = {"milestone": "revenue_contracted", "milestone_id": "m"}
    stored(session, "events.revenue", {**moved, "booked_on": MARCH, "currency": "CHF", "cause": "priced"})
    stored(session, "events.home_value", *(value for _, value in facts),
           {**moved, "currency": "CHF", "home_currency": "EUR", "rate": None})  # fmt: skip
    stored(session, "events.gap", *({"gap": "rate_missing", "subject": name} for name in ("USD", "GBP", "CHF")))
    stored(session, "finance.milestone_version", {"booked_on": JANUARY, "recorded_at": NOW})
    return session


def states(session: Session) -> dict[date, str]:
    return periods._states(session)


def test_a_month_is_closed_when_all_of_its_own_amounts_are_converted(books: Session):
    """A currency that has no rate in another month is no obstacle; what is internal or reversed is none either."""
    assert periods.close(books, JANUARY, *WHY) == [JANUARY]
    with pytest.raises(ConfigurationError, match="2026-02 has amounts in GBP, USD that no rate converts"):
        periods.close(books, MARCH, *WHY)
    assert states(books) == {JANUARY: "closed"}, "nothing of it is closed"
    books.connection.execute("UPDATE events.home_value SET rate = '1' WHERE currency IN ('USD', 'GBP')")
    with pytest.raises(ConfigurationError, match="2026-03 has amounts in CHF"):
        periods.close(books, MARCH, *WHY)
    assert periods.close(books, FEBRUARY, *WHY) == [FEBRUARY]


def test_a_month_is_reopened_with_those_after_it_and_each_change_is_known_later_than_the_last(books: Session):
    books.connection.execute("UPDATE events.home_value SET rate = '1'")
    with pytest.raises(ConfigurationError, match="2026-02 is open: no month is closed"):
        periods.reopen(books, FEBRUARY, *WHY)
    assert periods.close(books, MARCH, *WHY) == [JANUARY, FEBRUARY, MARCH]
    with pytest.raises(ConfigurationError, match="2026-04 is open: closed is everything up to 2026-03"):
        periods.reopen(books, date(2026, 4, 1), *WHY)
    with pytest.raises(ConfigurationError, match="2026-02 is closed; everything up to 2026-03 is"):
        periods.close(books, FEBRUARY, *WHY)
    known = books.state.knowledge
    assert known == NOW + timedelta(microseconds=1)
    assert periods.reopen(books, FEBRUARY, *WHY) == [FEBRUARY, MARCH]
    assert states(books) == {JANUARY: "closed", FEBRUARY: "open", MARCH: "open"}
    rows = books.read(periods.PERIOD).sort("recorded_at", "month")
    assert rows.select("month", "state", "recorded_at").rows() == [
        *((month, "closed", NOW) for month in (JANUARY, FEBRUARY, MARCH)),
        *((month, "open", known) for month in (FEBRUARY, MARCH)),
    ]
    assert set(rows["changed_by"]) == {"Ida"}
    assert set(rows["reason"]) == {"the books are done"}


@pytest.mark.parametrize(("by", "reason"), [("ida@firm.example", "x"), ("Ida", "asked by ida@firm.example"), ("", "x")])
def test_who_and_why_are_words_and_no_addresses(books: Session, by: str, reason: str):
    with pytest.raises(ConfigurationError):
        periods.close(books, JANUARY, by, reason)
    assert states(books) == {}
