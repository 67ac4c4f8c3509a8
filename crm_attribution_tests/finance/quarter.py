"""A quarter of a small company, looked at on five dates: wins, a price corrected before and one after its month closed,
a late click, a merge, a corrected rate, an expansion, a win that is lost, churn. January is closed on the second date
and February on the fourth.

Alpha (1) is won on 20 January, Beta (2) on the 25th, Gamma (3) on the 28th in dollars and without a touch. The folder
`quarter` keeps what was published on each date. `python -m crm_attribution_tests.finance.quarter` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from crm_attribution.finance import periods
from crm_attribution.marts.models import materialize
from crm_attribution.orchestration.assets.sql import MODELS
from crm_attribution_tests.flow.chain import Chain, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import Line, click, create, join, merge, update

FILES = Path(__file__).with_name("quarter")
KEPT = {
    "revenue_attribution": "SELECT * FROM marts.revenue_attribution",
    "milestone": "SELECT * FROM marts.milestone",
    "arr_bridge": "SELECT * FROM marts.arr_bridge",
}
RULES = """
values:
  arr: {property: hs_arr, line_items: null}
churn:
  property: subscription
  values: [ended]
attribution:
  models: [first_touch, linear]
  outcomes: [customer_won, customer_expanded, revenue_churned]
"""
DATES = ("2026-02-01T01:00:00Z", "2026-02-05T00:00:00Z", "2026-02-15T00:00:00Z", "2026-03-05T00:00:00Z",
         "2026-04-01T01:00:00Z")  # fmt: skip
JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
CLOSED = {DATES[1]: JANUARY, DATES[3]: FEBRUARY}


def _clicked(told: str, name: str, contact: int, source: str, medium: str, when: str | None = None) -> Line:
    return click(told, name, contact_id=str(contact), clicked_at=when or told, destination_url="https://v.example",
                 utm_source=source, utm_medium=medium, utm_campaign="winter")  # fmt: skip


def _customer(number: int, contact: int) -> list[Line]:
    began = "2026-01-02T09:00:00Z"
    return [
        create(began, "companies", number, name=f"Company {number}", domain=f"c{number}.example"),
        create(began, "contacts", contact, "FORM", email=f"ann@c{number}.example"),
        join(began, ("contacts", contact), ("companies", number)),
    ]


def _won(at: str, deal: int, company: int, amount: str, **more: str) -> list[Line]:
    given = {"dealname": f"Deal {deal}", "dealstage": "closedwon", "closedate": at, "amount": amount, "hs_arr": amount}
    return [create(at, "deals", deal, **given, **more), join(at, ("deals", deal), ("companies", company))]


LINES: list[Line] = [
    {"at": "2026-01-01T00:00:00Z", "op": "account", "account": {"timeZone": "Europe/Berlin", "companyCurrency": "EUR"}},
    *(line for number in (1, 2, 3) for line in _customer(number, 10 * number + 1)),
    create("2026-01-03T09:00:00Z", "contacts", 25, "FORM", email="bea.private@gmail.com"),
    _clicked("2026-01-05T09:00:00Z", "a1", 11, "google", "cpc"),
    _clicked("2026-01-08T09:00:00Z", "b1", 21, "facebook", "paid_social"),
    _clicked("2026-01-09T09:00:00Z", "b2", 25, "news", "email"),
    *_won("2026-01-20T10:00:00Z", 101, 1, "1000", deal_currency_code="EUR"),
    *_won("2026-01-25T10:00:00Z", 102, 2, "600", deal_currency_code="EUR"),
    *_won("2026-01-28T10:00:00Z", 103, 3, "500", deal_currency_code="USD"),
    update("2026-02-03T09:00:00Z", "deals", 101, amount="1200", hs_arr="1200"),
    _clicked("2026-02-10T09:00:00Z", "a2", 11, "facebook", "paid_social", when="2026-01-18T09:00:00Z"),
    merge("2026-02-12T09:00:00Z", "contacts", 21, 25),
    *_won("2026-02-20T10:00:00Z", 104, 1, "300", deal_currency_code="EUR"),
    update("2026-03-03T09:00:00Z", "deals", 102, dealstage="closedlost"),
    update("2026-03-10T09:00:00Z", "deals", 103, subscription="ended"),
    update("2026-03-20T09:00:00Z", "deals", 101, amount="1100", hs_arr="1100"),
]
RATES = {DATES[0]: "2026-01-28,USD,EUR,0.9", DATES[2]: "2026-01-28,USD,EUR,0.95"}
"""On some dates a file of rates: the second corrects the first."""


@dataclass
class Quarter:
    """What was published on each date, and the warehouse after the last."""

    chain: Chain
    published: dict[str, dict[str, pl.DataFrame]]

    def query(self, sql: str) -> pl.DataFrame:
        with self.chain.warehouse.session() as session:
            return session.query(sql)


@contextmanager
def played(folder: Path) -> Iterator[Quarter]:
    with Chain.start(folder, LINES, DATES[0], rules(folder, RULES)) as chain:
        published = {}
        for moment in DATES:
            chain.sandbox.set_clock(moment)
            if moment in RATES:
                chain.rates(RATES[moment])
            chain.run()
            with chain.warehouse.session() as session:
                session.state.watermark = at(moment)
                for model in MODELS:
                    materialize(session.connection, model)
                published[moment] = {name: in_order(session.query(sql)) for name, sql in KEPT.items()}
                if moment in CLOSED:
                    periods.close(session, CLOSED[moment], "Ida", "the books of the month are done")
        with chain.warehouse.session() as session:
            for model in MODELS:
                materialize(session.connection, model)
        yield Quarter(chain, published)


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """As text, in the order of all columns: what a file shows."""
    return frame.select(pl.all().cast(pl.String)).sort(pl.all(), nulls_last=True)


def file(moment: str, mart: str) -> Path:
    return FILES / f"{moment[:10]}.{mart}.csv"


if __name__ == "__main__":
    with TemporaryDirectory() as folder, played(Path(folder)) as quarter:
        for moment, marts in quarter.published.items():
            for mart, frame in marts.items():
                frame.write_csv(file(moment, mart))
