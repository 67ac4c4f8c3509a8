"""The scripted quarter: what was published on five dates is answered for ever, closed months never move, and every
delta has a cause whose row is there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import combinations

import dagster as dg
import polars as pl
import pytest

from crm_attribution.errors import ConfigurationError
from crm_attribution.finance import periods
from crm_attribution.finance.evidence import KEYS
from crm_attribution.marts import as_of, query
from crm_attribution.marts.models import materialize, run_test
from crm_attribution.operations.changed import brief, changed
from crm_attribution.orchestration.assets.periods import close_month, reopen_month
from crm_attribution.orchestration.assets.sql import MODELS, TESTS
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.engine import open_reader
from crm_attribution_tests.finance.quarter import (
    CLOSED,
    DATES,
    FEBRUARY,
    JANUARY,
    Quarter,
    file,
    in_order,
    pipeline,
    played,
)
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import update

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

D = Decimal

BY_HAND = {
    # linear, amount, booked in January: what is known on each date, in EUR, and Gamma's at home
    # (first what Alpha, Beta and Gamma give, then deals 105 to 110 in the order of their companies)
    DATES[0]: {
        "Paid Search": 1000 + (100 + 200 + 400 + 600 + 350),
        "Paid Social": 600 + (200 + 400 + 300 + 350),
        "E-mail": 200,
        "home": 450,
    },
    DATES[1]: {
        "Paid Search": 1200 + (100 + 200 + 400 + 600 + 350),
        "Paid Social": 600 + (200 + 400 + 300 + 350),
        "E-mail": 200,
        "home": 450,
    },
    DATES[2]: {  # 105 is archived; of 107 the first person has all
        "Paid Search": 600 + (0 + 400 + 400 + 600 + 350),
        "Paid Social": 600 + 300 + (0 + 400 + 300 + 350),
        "E-mail": 300 + 200,
        "home": 475,
    },
    DATES[3]: {  # 106 is 200 USD; of 108 the contact of the company has all
        "Paid Search": 600 + (400 + 800 + 600 + 350),
        "Paid Social": 600 + (300 + 350),
        "home": 475 + 190,
    },
    DATES[4]: {  # 110 without the erased person; 109 between two touches
        "Paid Search": 550 + (400 + 800 + 450),
        "Paid Social": 550 + (450 + 700),
        "home": 475 + 190,
    },
}
POSTED_BY_HAND = {
    # the same at the end, by the month it is posted to: January as it was closed, the rest where it was recorded
    ("2026-01", "Paid Search"): 2850,
    ("2026-01", "Paid Social"): 1850,
    ("2026-02", "Paid Search"): 2750 - 2850,
    ("2026-02", "Paid Social"): 1250 - 1850,
    ("2026-03", "Paid Search"): 2200 - 2750,
    ("2026-03", "Paid Social"): 1700 - 1250,
}
LATER = [update("2026-04-01T12:00:00Z", "deals", 101, amount="1000", hs_arr="1000")]
ERASED_AT = "2026-03-05T00:00:00.000001Z"
"""Known after the closing at the same hour, so February does not show it."""
CAUSES_BY_HAND = {
    # linear, amount in its own currency: date, deal, cause -> the row
    *((DATES[0], deal, "new") for deal in ("101", "102", "103", "105", "106", "107", "108", "109", "110")),
    (DATES[1], "101", "amount"),
    (DATES[2], "101", "late_touch"),
    (DATES[2], "102", "merge"),
    (DATES[2], "105", "archived"),
    (DATES[2], "107", "split"),
    (DATES[3], "102", "stage"),
    (DATES[3], "102", "new"),  # the churn that the loss is
    (DATES[3], "104", "new"),
    (DATES[3], "106", "currency"),
    (DATES[3], "108", "identity_rule"),
    (ERASED_AT, "110", "erased"),
    (DATES[4], "101", "amount"),
    (DATES[4], "109", "mapping"),
}
CAUSES = {"new", "merge", "split", "amount", "currency", "rate", "stage", "late_touch", "identity_rule", "mapping",
          "archived", "erased"}  # fmt: skip


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarter]:
    with played(tmp_path_factory.mktemp("quarter")) as made:
        yield made


def kept(moment: str, mart: str) -> pl.DataFrame:
    return pl.read_csv(file(moment, mart), infer_schema=False)


def asked(quarter: Quarter, macro: str, moment: str) -> pl.DataFrame:
    with quarter.chain.warehouse.session() as session:
        as_of.create_macros(session.connection)
        return session.query(f"FROM {macro}(TIMESTAMP '{at(moment):%Y-%m-%d %H:%M:%S}')")


@pytest.mark.parametrize("moment", DATES)
@pytest.mark.parametrize("mart", ["revenue_attribution", "milestone"])
def test_any_later_run_answers_each_date_byte_for_byte(quarter: Quarter, moment: str, mart: str) -> None:
    published = quarter.published[moment][mart]
    found = in_order(asked(quarter, f"{mart}_as_of", moment).select(published.columns))
    assert found.write_csv() == published.write_csv()
    columns = kept(moment, mart).columns  # those of today may be more
    assert in_order(found.select(columns)).write_csv() == file(moment, mart).read_text(encoding="utf-8")


def test_the_figures_of_january_are_those_worked_out_by_hand(quarter: Quarter) -> None:
    for moment, expected in BY_HAND.items():
        rows = quarter.published[moment]["revenue_attribution"].filter(
            (pl.col("booked_month") == "2026-01-01") & (pl.col("model") == "linear") & (pl.col("measure") == "amount")
        )
        money = rows.with_columns(pl.col("credit", "credit_home").cast(pl.Decimal(30, 6)))
        euro = money.filter(pl.col("currency") == "EUR").group_by("channel").agg(pl.col("credit").sum())
        shown = {channel: credit for channel, credit in euro.iter_rows() if credit}
        shown["home"] = money.filter(pl.col("currency") == "USD")["credit_home"].sum()
        assert shown == {name: D(value) for name, value in expected.items()}, moment
    posted = quarter.query(
        "SELECT strftime(posted_month, '%Y-%m'), channel, sum(credit) FROM marts.revenue_attribution WHERE"
        " booked_month = '2026-01-01' AND model = 'linear' AND measure = 'amount' AND currency = 'EUR' GROUP BY ALL"
    )
    assert {(month, channel): credit for month, channel, credit in posted.iter_rows() if channel != "E-mail"} == {
        key: D(value) for key, value in POSTED_BY_HAND.items()
    }


@pytest.mark.parametrize(("closed", "month"), CLOSED.items())
def test_a_closed_month_never_moves(quarter: Quarter, closed: str, month: object) -> None:
    def shown(marts: dict[str, pl.DataFrame]) -> list[str]:
        return [
            marts[mart].filter(pl.col(column) <= str(month)).write_csv()
            for mart, column in (("revenue_attribution", "posted_month"), ("arr_bridge", "month"))
        ]

    was = shown(quarter.published[closed])
    assert all(text.count("\n") > 2 for text in was)
    for moment in DATES[DATES.index(closed) + 1 :]:
        assert shown(quarter.published[moment]) == was


def test_what_is_posted_is_what_is_so(quarter: Quarter) -> None:
    for measure in ("count", "amount", "arr"):
        posted, credited = (
            quarter.query(sql)
            for sql in (
                f"SELECT model, currency, sum(credit_minor)::BIGINT FROM marts.revenue_attribution WHERE"
                f" measure = '{measure}' GROUP BY ALL ORDER BY ALL",
                "SELECT model, nullif(currency, ''), sum(credit)::BIGINT FROM attribution.credit WHERE"
                f" superseded_at IS NULL AND measure = '{measure}' GROUP BY ALL ORDER BY ALL",
            )
        )
        assert posted.rows() == credited.rows()
    books, truth = (
        quarter.query(f"SELECT * FROM marts.{mart} ORDER BY month, basis, currency")
        for mart in ("arr_bridge", "arr_bridge_restated")
    )
    home = pl.col("basis") == "home"
    assert books.filter(home)["closing_minor"].to_list() == [515_000, 557_500, 439_000]
    assert truth.filter(home)["closing_minor"].to_list() == [507_500, 557_500, 439_000]
    assert books.filter(home)["adjusted_minor"].to_list() == [0, 2_500 - 10_000, 0], (
        "the corrected rate of January, and 105"
    )


def test_between_any_two_dates_a_month_differs_by_its_deltas(quarter: Quarter) -> None:
    moved = quarter.query("FROM marts.restatement WHERE basis = 'own'")
    figure = ["booked_month", "milestone", "model", "measure", "currency", "channel"]

    def figures(moment: str) -> pl.DataFrame:
        rows = kept(moment, "revenue_attribution").with_columns(pl.col("credit_minor").cast(pl.Int64))
        return rows.group_by(figure).agg(pl.col("credit_minor").sum())

    for one, other in combinations(DATES, 2):
        both = figures(one).join(figures(other), on=figure, how="full", coalesce=True, nulls_equal=True)
        differs = both.select(
            *figure, delta=pl.col("credit_minor_right").fill_null(0) - pl.col("credit_minor").fill_null(0)
        ).filter(pl.col("delta") != 0)
        since, until = at(one).replace(tzinfo=None), at(other).replace(tzinfo=None)
        told = moved.filter((pl.col("recorded_at") > since) & (pl.col("recorded_at") <= until))
        told = told.group_by(figure).agg(delta=pl.col("delta_minor").sum()).filter(pl.col("delta") != 0)
        assert in_order(told).rows() == in_order(differs).rows(), (one, other)


def test_every_delta_has_its_cause_and_the_row_is_there(quarter: Quarter) -> None:
    rows = quarter.query("FROM finance.restatement")
    assert not set(rows["cause"]) & {"unexplained", "not_recorded"}
    assert set(rows["cause"]) == CAUSES, "each of them once, by its own deal"
    for (table,), named in rows.group_by("cause_table"):
        held = set(quarter.query(f"SELECT {KEYS[str(table)]} AS key FROM {table}")["key"])
        assert set(named["cause_key"]) <= held, table
    mine = quarter.query(
        "SELECT DISTINCT recorded_at, deal_id, cause FROM marts.restatement WHERE model = 'linear' AND basis = 'own'"
        " AND measure = 'amount'"
    )
    assert {(moment, deal, cause) for moment, deal, cause in mine.iter_rows()} == {
        (at(moment).replace(tzinfo=None), deal, cause) for moment, deal, cause in CAUSES_BY_HAND
    }
    rate = quarter.query("SELECT DISTINCT deal_id, cause_table, cause_key FROM marts.restatement WHERE cause = 'rate'")
    assert rate.rows() == [("103", "raw.exchange_rate", "2026-01-28|USD|EUR")]


def test_a_rebuild_remembers_and_every_law_holds(quarter: Quarter) -> None:
    memory = ("finance.milestone_version", "finance.revenue_version", "finance.touch_version", "finance.restatement")
    before = {name: in_order(quarter.query(f"FROM {name}")).rows() for name in memory}
    quarter.chain.rebuild()
    assert {name: in_order(quarter.query(f"FROM {name}")).rows() for name in memory} == before
    with quarter.chain.warehouse.session() as session:
        assert sum(materialize(session.connection, model).changed_rows for model in MODELS) == 0
        assert [test.name for test in TESTS if not run_test(session.connection, test).passed] == []


def test_months_close_in_order_and_only_when_they_are_over(quarter: Quarter) -> None:
    def refused(month: str, by: str = "Ida", reason: str = "done", change: object = periods.close) -> str:
        with quarter.chain.warehouse.session() as session, pytest.raises(ConfigurationError) as caught:
            change(session, at(f"{month}-01").date(), by, reason)  # type: ignore[operator]
        return str(caught.value)

    assert "2026-04 ends at 2026-04-30T22:00Z" in refused("2026-04"), "the month ends in the account's zone"
    assert refused("2026-01") == "2026-01 is closed; everything up to 2026-02 is"
    assert "reason is empty" in refused("2026-03", reason=" ")
    assert "reason holds a control character (U+001B in place 5)" in refused("2026-03", reason="done\x1b[31m")
    assert "by holds a control character (U+000A in place 4)" in refused("2026-03", by="Ida\nBerg")
    assert "by holds an e-mail address" in refused("2026-03", by="ida@firm.example")
    assert "closed is everything up to 2026-02" in refused("2026-03", change=periods.reopen)


def test_what_changes_after_a_reopening_is_posted_to_the_month_itself(quarter: Quarter) -> None:
    """Last: it goes on with the warehouse of the others."""
    with quarter.chain.warehouse.session() as session:
        assert periods.reopen(session, JANUARY, "Ida", "an invoice was found") == [JANUARY, FEBRUARY]
        assert periods.close(session, JANUARY, "Ida", "again") == [JANUARY]
        assert periods.reopen(session, JANUARY, "Ida", "once more") == [JANUARY]
    quarter.chain.sandbox.log(LATER)
    quarter.chain.advance("2026-04-02T00:00:00Z")
    with quarter.chain.warehouse.session() as session:
        for model in MODELS:
            materialize(session.connection, model)
        moved = session.query("FROM marts.restatement WHERE recorded_at > '2026-04-01 12:00:00'")
        times = session.query("SELECT recorded_at FROM finance.period ORDER BY recorded_at")["recorded_at"]
        assert [test.name for test in TESTS if not run_test(session.connection, test).passed] == []
    assert set(moved["posted_month"]) == {JANUARY}
    assert set(moved["cause"]) == {"amount"}
    assert times.n_unique() == 5, "each command is later than the one before"


def test_the_job_closes_a_month_and_publishes(quarter: Quarter) -> None:
    """After all others: January is open again."""
    chain = quarter.chain
    of_jobs = pipeline(chain, "2026-04-02T00:00:00Z")

    def run(job: dg.JobDefinition, op: str, month: str) -> dg.ExecuteInProcessResult:
        said = {"month": month, "by": "Ida", "reason": "done"}
        return job.execute_in_process(
            run_config={"ops": {op: {"config": said}}}, resources={"pipeline": of_jobs}, raise_on_error=False
        )

    with chain.warehouse.session() as session:
        session.state.watermark = at("2026-04-02T00:00:00Z")
    assert run(close_month, "close", "2026-03").success
    copy = chain.warehouse.directory / snapshots.FOLDER / snapshots.names(chain.warehouse.directory)[0]
    with open_reader(copy / "warehouse.duckdb") as reader:
        held = reader.execute("SELECT max(month) FROM finance.period WHERE state = 'closed'").fetchone()
    assert held == (date(2026, 3, 1),), "a restore has the closing with what it locks"
    rows = changed(of_jobs.settings, at("2026-03-01"), "2026-01")
    assert set(brief(rows, "linear")["cause"]) == {"stage", "amount", "currency", "identity_rule", "erased", "mapping"}
    (through,) = query.read(chain.warehouse.finance_path, "SELECT max(month) FROM marts.period WHERE is_current").row(0)
    assert through == at("2026-03-01").date()
    refused = run(close_month, "close", "2026-04")
    assert "2026-04 ends at 2026-04-30T22:00Z" in str(refused.all_events)
    assert run(reopen_month, "reopen", "2026-03").success
