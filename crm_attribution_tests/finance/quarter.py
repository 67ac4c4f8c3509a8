"""A quarter of a small company, looked at on five dates: wins, a price corrected before and one after its month closed,
a late click, a merge, a corrected rate, an expansion, a win that is lost, churn. January is closed on the second date
and February on the fourth.

Alpha (1) is won on 20 January, Beta (2) on the 25th, Gamma (3) on the 28th in dollars and without a touch. Six more are
won in January, and each is changed once by another cause: Delta's deal (4) is archived, Epsilon's (5) gets another
currency, a person of Zeta (6) is split, Eta (7) and Theta (8) are moved by the mapping, and of Iota (9) a person is
erased. The folder `quarter` keeps what was published on each date. `python -m crm_attribution_tests.finance.quarter`
writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from crm_attribution import configuration
from crm_attribution.clock import FixedClock
from crm_attribution.finance import periods
from crm_attribution.marts.models import materialize
from crm_attribution.orchestration.assets.privacy import erase_waiting
from crm_attribution.orchestration.assets.sql import MODELS
from crm_attribution.orchestration.resources import Pipeline
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
NO_ACCOUNT = "accounts: {more_free_mail_domains: [c7.example]}\n"
"""In the mapping from the fourth date on: Eta's second person is of no account any more."""
REPEATS_ARE_ONE = "  collapse_minutes: 30\n"
"""At the fifth date in section `attribution`: Theta's second click is none of its own any more."""
ERASED = ("91", 3)
"""The contact, and the place of the date after whose closing it is erased."""
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


_LINES: list[Line] = [
    {"at": "2026-01-01T00:00:00Z", "op": "account", "account": {"timeZone": "Europe/Berlin", "companyCurrency": "EUR"}},
    *(line for number in range(1, 10) for line in _customer(number, 10 * number + 1)),
    create("2026-01-03T09:00:00Z", "contacts", 62, "FORM", email="zoe.private@gmail.com"),
    update("2026-01-03T10:00:00Z", "contacts", 61, hs_additional_emails="zoe.private@gmail.com"),
    create("2026-01-03T09:00:00Z", "contacts", 72, "FORM", email="ben@c7.example"),
    create("2026-01-03T09:00:00Z", "contacts", 92, "FORM", email="ben@c9.example"),
    join("2026-01-03T09:00:00Z", ("contacts", 92), ("companies", 9)),
    create("2026-01-03T09:00:00Z", "contacts", 25, "FORM", email="bea.private@gmail.com"),
    _clicked("2026-01-05T09:00:00Z", "a1", 11, "google", "cpc"),
    _clicked("2026-01-08T09:00:00Z", "b1", 21, "facebook", "paid_social"),
    _clicked("2026-01-09T09:00:00Z", "b2", 25, "news", "email"),
    _clicked("2026-01-10T09:00:00Z", "d1", 41, "google", "cpc"),
    _clicked("2026-01-10T10:00:00Z", "e1", 51, "news", "email"),
    _clicked("2026-01-10T11:00:00Z", "z1", 61, "google", "cpc"),
    _clicked("2026-01-10T12:00:00Z", "z2", 62, "facebook", "paid_social"),
    _clicked("2026-01-10T13:00:00Z", "h1", 71, "google", "cpc"),
    _clicked("2026-01-10T14:00:00Z", "h2", 72, "facebook", "paid_social"),
    _clicked("2026-01-10T15:00:00Z", "t1", 81, "google", "cpc"),
    _clicked("2026-01-10T15:10:00Z", "t2", 81, "google", "cpc"),
    _clicked("2026-01-10T16:00:00Z", "t3", 81, "facebook", "paid_social"),
    _clicked("2026-01-10T17:00:00Z", "i1", 91, "google", "cpc"),
    _clicked("2026-01-10T18:00:00Z", "i2", 92, "facebook", "paid_social"),
    *_won("2026-01-20T10:00:00Z", 101, 1, "1000", deal_currency_code="EUR"),
    *_won("2026-01-21T10:00:00Z", 105, 4, "100", deal_currency_code="EUR"),
    *_won("2026-01-22T10:00:00Z", 110, 9, "700", deal_currency_code="EUR"),
    *_won("2026-01-24T10:00:00Z", 107, 6, "400", deal_currency_code="EUR"),
    *_won("2026-01-25T10:00:00Z", 102, 2, "600", deal_currency_code="EUR"),
    *_won("2026-01-26T10:00:00Z", 108, 7, "800", deal_currency_code="EUR"),
    *_won("2026-01-27T10:00:00Z", 109, 8, "900", deal_currency_code="EUR"),
    *_won("2026-01-28T10:00:00Z", 103, 3, "500", deal_currency_code="USD"),
    *_won("2026-01-29T10:00:00Z", 106, 5, "200", deal_currency_code="EUR"),
    update("2026-02-03T09:00:00Z", "deals", 101, amount="1200", hs_arr="1200"),
    {"at": "2026-02-08T09:00:00Z", "op": "archive", "object": "deals", "id": "105"},
    _clicked("2026-02-10T09:00:00Z", "a2", 11, "facebook", "paid_social", when="2026-01-18T09:00:00Z"),
    merge("2026-02-12T09:00:00Z", "contacts", 21, 25),
    update("2026-02-13T09:00:00Z", "contacts", 61, hs_additional_emails=""),
    *_won("2026-02-20T10:00:00Z", 104, 1, "300", deal_currency_code="EUR"),
    update("2026-03-02T09:00:00Z", "deals", 106, deal_currency_code="USD"),
    update("2026-03-03T09:00:00Z", "deals", 102, dealstage="closedlost"),
    {"at": "2026-03-05T00:00:01Z", "op": "privacy_delete", "object": "contacts", "id": "91"},
    update("2026-03-10T09:00:00Z", "deals", 103, subscription="ended"),
    update("2026-03-20T09:00:00Z", "deals", 101, amount="1100", hs_arr="1100"),
]
LINES = sorted(_LINES, key=lambda line: str(line["at"]))
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
        for place, moment in enumerate(DATES):
            chain.sandbox.set_clock(moment)
            chain.mapping = rules(folder, mapping_of(place))
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
            if place == ERASED[1]:
                erase_waiting(pipeline(chain, moment), [ERASED[0]], confirmed=True)
        with chain.warehouse.session() as session:
            for model in MODELS:
                materialize(session.connection, model)
        yield Quarter(chain, published)


def mapping_of(place: int) -> str:
    """The mapping at a date, by its place."""
    own = RULES + (NO_ACCOUNT if place >= 3 else "")
    return own.replace("attribution:\n", f"attribution:\n{REPEATS_ARE_ONE}") if place == 4 else own


def pipeline(chain: Chain, moment: str) -> Pipeline:
    """What jobs get, on the chain's warehouse."""
    given = configuration.load({**chain.sandbox.env, "CRM_ATTRIBUTION_DATA_DIR": str(chain.warehouse.directory)})
    return Pipeline(given, chain.mapping, FixedClock(at(moment)), chain.warehouse)


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
