"""What the mart of spend shows is what the files say, to the cent, however they came: recounted in plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_attribution import layers
from crm_attribution.mapping.spend import Spend
from crm_attribution.marts.models import materialize, run_test
from crm_attribution.sources.costs import SOURCE as COSTS
from crm_attribution.sources.restated import latest
from crm_attribution.sources.spend import SOURCE as SPEND
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.marts import sample_rows

pytestmark = [pytest.mark.warehouse, pytest.mark.slow]

NOW = datetime(2026, 4, 20, 12, tzinfo=UTC)
DIGITS = {"EUR": 2, "JPY": 0, "KWD": 3, "USD": 2}
CAMPAIGNS = {("7", "Brand"): ("brand", "name"), ("abm", "?"): ("abm", "id"), ("8", "Brand!"): ("brand", "name"),
             ("", ""): (None, "none"), ("9", "Nobody"): (None, "none"), ("", "Planted"): (None, "none"),
             ("8", "DE | ABM | 26"): ("abm", "rule"), ("abm", "DE | Old | 26"): ("abm", "id")}  # fmt: skip
DAYS = [date(2026, 3, 1), date(2026, 3, 2), date(2026, 4, 1)]
RATE_DAYS = [date(2026, month, number) for month, number in
             ((2, 21), (2, 22), (2, 23), (2, 26), (3, 1), (3, 2), (3, 27), (3, 31), (4, 1), (4, 30))]  # fmt: skip
MODELS = [model for model in sample_rows.models()
          if model.key in ("staging.currency", "staging.ad_spend", "marts.spend", "marts.cost")]  # fmt: skip

RULES = LOADED.model_copy(
    update={
        "spend": Spend.model_validate(
            {"gross_margin_percent": None, "utm_rules": [{"campaign_name": ["DE | * | *"], "utm_campaign": "{1}"}]}
        )
    }
)

Line = dict[str, Any]
File = tuple[str, datetime, list[Line]]
Rates = dict[tuple[str, date], Decimal]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with new_warehouse(tmp_path_factory.mktemp("law")).session() as opened:
        rows = sample_rows.tables()
        sample_rows.fill(opened, {name: rows[name] for name in ("raw.account", "attribution.touch")})
        yield opened


amounts = st.tuples(st.sampled_from(sorted(DIGITS)), st.integers(-(10**6), 10**9)).map(
    lambda drawn: {"currency": drawn[0], "amount": str(Decimal(drawn[1]).scaleb(-DIGITS[drawn[0]]))}
)


@st.composite
def files(draw: st.DrawFn) -> list[File]:
    """Files told at different times; a number keeps lines apart, as an ad group would. The first plants a campaign."""
    told: list[File] = []
    for hour in range(draw(st.integers(1, 4))):
        at, spent = NOW + timedelta(hours=hour - 9), []
        for number in range(draw(st.integers(1, 5))):
            campaign, name = draw(st.sampled_from(sorted(CAMPAIGNS)))
            line = {"date": str(draw(st.sampled_from(DAYS))), "platform": "google", "campaign_id": campaign or None,
                    "ad_account": draw(st.sampled_from(["1", "2"])), "campaign_name": name or None}  # fmt: skip
            spent.append({**line, **draw(amounts), "ad_group": str(number)})
        planted = {"date": "2026-03-02", "platform": "google", "ad_account": "3", "campaign_name": "Planted"}
        told.append(("spend", at, [*spent, {**planted, "currency": "USD", "amount": "0.01"}]))
        kinds = st.sampled_from(["tools", "fairs"])
        costs = [{"month": draw(st.sampled_from(["2026-03", "2026-04"])), "kind": draw(kinds), **draw(amounts),
                  "team": str(number)} for number in range(draw(st.integers(0, 3)))]  # fmt: skip
        told.append(("costs", at, costs))
    return told


rate_tables = st.dictionaries(
    st.tuples(st.sampled_from(["USD", "JPY"]), st.sampled_from(RATE_DAYS)),
    st.decimals("0.000001", "2000", places=6).filter(bool),
    min_size=1,
    max_size=8,
)


@given(files=files(), rates=rate_tables, chance=st.randoms(use_true_random=False))
@settings(max_examples=8 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_marts_of_spend_and_costs_show_the_files_to_the_cent(
    session: Session, files: list[File], rates: Rates, chance: Any
) -> None:
    for table in ("raw.ad_spend", "raw.cost", "raw.exchange_rate"):
        session[table].replace(session.read(table, "false"), None)
    arriving: list[File | Rates] = [*files, *files[:2]]  # a file taken in again changes nothing
    chance.shuffle(arriving)
    hour = chance.randrange(len(arriving))  # what came before it, and the rest
    hours = [arriving[:hour], arriving[hour:]]
    hours.insert(chance.choice([0, 1, 2, 2]), [rates])
    for some in hours:
        for one in some:
            take_in(session, one)
        for layer in (layers.SPENT, layers.SPEND_CAMPAIGNS):
            layers.run(layer, session, RULES, NOW)
    for model in MODELS:
        materialize(session.connection, model)
        data_tests = [test for test in model.tests if test.path.name.endswith(".test.sql")]
        assert [test.name for test in data_tests if not run_test(session.connection, test).passed] == []
    assert shown(session, "marts.spend", "spent_on", "ad_account", "campaign_id", "campaign_name") == recounted(
        files, "spend", rates, "date", "ad_account", "campaign_id", "campaign_name"
    )
    assert shown(session, "marts.cost", "month", "kind") == recounted(files, "costs", rates, "month", "kind")
    matches = session.query("SELECT DISTINCT campaign_id, campaign_name, campaign, match FROM marts.spend").rows()
    assert {(number or "", name or ""): found for number, name, *found in matches}.items() <= {
        key: list(found) for key, found in CAMPAIGNS.items()
    }.items()
    planted = session.query("SELECT amount_minor FROM marts.spend WHERE ad_account = '3'").rows()
    assert planted == [(1,)]


def take_in(session: Session, one: File | Rates) -> None:
    """A file of spend or costs, as the reader of sources stores it, or the table of rates."""
    if isinstance(one, dict):
        rows = [{"date": day, "from_currency": code, "to_currency": "EUR", "rate": f"{rate:f}", "told_at": NOW,
                 "extracted_at": NOW} for (code, day), rate in one.items()]  # fmt: skip
        if rows:
            session["raw.exchange_rate"].upsert(pl.DataFrame(rows))
        return
    kind, at, lines = one
    source = SPEND if kind == "spend" else COSTS
    assert source.restated
    found = source.parse([(str(n), line) for n, line in enumerate(lines)], extracted_at=NOW, told_at=at)
    assert found.refused == []
    parts = found.rows.select(source.restated.part).unique()
    stored = session.read_keys(source.table, parts)
    session[source.table].replace(latest(source.contract, source.restated, stored, found.rows).rows, parts)


Sums = dict[tuple[str, ...], tuple[Decimal, Decimal | None]]


def shown(session: Session, mart: str, *key: str) -> Sums:
    """Key and currency -> amount in its unit, amount at home in its unit."""
    texts = ", ".join(f"coalesce({column}::VARCHAR, '')" for column in key)
    found = session.query(f"SELECT {texts}, currency, amount, amount_home FROM {mart}").rows()
    assert len({row[:-2] for row in found}) == len(found), "a row of the key twice"
    return {row[:-2]: (row[-2], row[-1]) for row in found}


def recounted(files: list[File], kind: str, rates: Rates, *key: str) -> Sums:
    """The same, from the lines of the files that told each part last."""
    part = ("date", "ad_account") if kind == "spend" else ("month", "kind")
    mine = [(at, line) for name, at, lines in files if name == kind for line in lines]
    last = {tuple(line[name] for name in part): at for at, line in mine}
    lines = [line for at, line in mine if last[tuple(line[name] for name in part)] == at]
    rows: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for line in lines:
        named = {**line, **({"month": f"{line['month']}-01"} if "month" in line else {})}
        rows[*(named.get(name) or "" for name in key), line["currency"]] += Decimal(line["amount"])
    return {row: (total, at_home(row[0], row[-1], total, rates, kind)) for row, total in rows.items()}


def at_home(day: str, currency: str, amount: Decimal, rates: Rates, kind: str) -> Decimal | None:
    if currency == "EUR":
        return amount
    first = date.fromisoformat(day)
    last = first if kind == "spend" else (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    known = [told for code, told in rates if code == currency and first - timedelta(days=7) <= told <= last]
    if not known:
        return None
    return Decimal(round(Fraction(amount) * Fraction(rates[currency, max(known)]) * 100)) / 100
