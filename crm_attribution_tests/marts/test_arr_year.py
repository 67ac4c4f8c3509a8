"""The ARR bridge over a year of 2,000 deals, against a recount of what each account pays for when a month ends."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from random import Random

import polars as pl
import pytest

from crm_attribution.events.rules.revenue import Change, movements
from crm_attribution.marts.models import materialize
from crm_attribution_tests.events.rules.test_revenue import change, recount
from crm_attribution_tests.helpers import new_warehouse, rows
from crm_attribution_tests.marts import sample_rows

pytestmark = [pytest.mark.warehouse, pytest.mark.slow]

DEALS, DAYS = 2_000, 365
MONTHS = [date(2026, month, 1) for month in range(1, 13)]
AFTER = [*MONTHS[1:], date(2027, 1, 1)]


def year(seed: int) -> dict[str, tuple[str, list[Change]]]:
    """account -> its currency and what happens to its deals: won, priced anew, lost, won again, renewed, churned."""
    chance, deal = Random(seed), 0
    accounts: dict[str, tuple[str, list[Change]]] = {}
    while deal < DEALS:
        name, currency, changes = f"company:{len(accounts)}", chance.choice(["EUR", "USD", "JPY"]), []
        mine = range(deal, min(DEALS, deal + chance.randint(1, 5)))
        deal, standing = mine.stop, set[int]()
        for day in sorted(chance.sample(range(DAYS), min(DAYS, len(mine) * 4))):
            one = chance.choice(mine)
            what = chance.choice(["won", "won", "renewed"] if one not in standing else ["priced", "ended", "churned"])
            (standing.discard if what == "ended" else standing.add)(one)
            more = {"subtype": "renewal"} if what == "renewed" else {}
            money = None if what in ("ended", "churned") else chance.randint(1, 5_000_000)
            changes.append(change("won" if what == "renewed" else what, one, day, money, currency=currency,
                                  event_id=f"{name}:{day}", **more))  # fmt: skip
        accounts[name] = currency, changes
    return accounts


def test_the_bridge_of_a_year_closes_in_every_month_and_currency(tmp_path: Path) -> None:
    accounts, made = year(seed=11), []
    paid = Counter[tuple[date, str]]()
    for name, (currency, changes) in accounts.items():
        made += [{**row, "account_id": name, "group_key": f"account:{name}"} for row in movements(changes)]
        for month, after in zip(MONTHS, AFTER, strict=True):
            known = [one for one in changes if one.booked_on < after]
            paid[month, currency] += sum(recount(known).values())
    assert len({one.deal_id for _, changes in accounts.values() for one in changes}) > DEALS * 0.9
    assert {row["milestone"] for row in made} >= {"revenue_new", "revenue_expanded", "revenue_contracted",
                                                 "revenue_churned"}  # fmt: skip
    with new_warehouse(tmp_path).session() as session:
        session["events.revenue"].append_new(pl.DataFrame(made, infer_schema_length=None))
        for model in sample_rows.models():
            if model.key in ("staging.currency", "staging.period_lock", "staging.arr_bridge", "marts.arr_bridge"):
                materialize(session.connection, model)
        found = rows(
            session,
            "SELECT month, currency, opening_minor, new_minor, expansion_minor, contraction_minor, churn_minor,"
            " closing_minor FROM marts.arr_bridge WHERE basis = 'own' ORDER BY currency, month",
        )
    assert {(month, currency) for month, currency, *_ in found} == {
        (m, c) for m in MONTHS for c in ("EUR", "JPY", "USD")
    }
    before: dict[str, int] = {}
    for month, currency, opening, new, expansion, contraction, churn, closing in found:
        assert opening == before.get(currency, 0), (month, currency)
        assert opening + new + expansion - contraction - churn == closing, (month, currency)
        assert closing == paid[month, currency], (month, currency)
        before[currency] = closing
