"""Spend, costs and rates from files: exact, and each part as it was told last, in any order of arrival."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.clock import FixedClock
from crm_attribution.contracts import CONTRACTS
from crm_attribution.raw.plugins import SourceReader
from crm_attribution.raw.reading import Readings
from crm_attribution.sources.base import Source
from crm_attribution.sources.costs import SOURCE as COSTS
from crm_attribution.sources.rates import SOURCE as RATES
from crm_attribution.sources.restated import latest
from crm_attribution.sources.spend import SOURCE as SPEND
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution_tests.laws import TIMES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGITS = {"EUR": 2, "JPY": 0, "KWD": 3}

Line = dict[str, Any]
Telling = tuple[datetime, list[Line]]


def line(**more: Any) -> Line:
    return {"date": "2026-02-01", "platform": "google", "ad_account": "1", "campaign_id": "7", "campaign_name": "Brand",
            "currency": "EUR", "amount": "10.00", "clicks": "3", "impressions": "100"} | more  # fmt: skip


def told(source: Source, tellings: Sequence[Telling]) -> pl.DataFrame:
    """The table after files that were taken in one after the other."""
    assert source.restated
    table = CONTRACTS[source.table].empty()
    part = list(source.restated.part)
    for at, lines in tellings:
        rows = source.parse([(str(n), row) for n, row in enumerate(lines)], extracted_at=NOW, told_at=at).rows
        here = table.join(rows, on=part, how="semi")
        table = pl.concat(
            [table.join(rows, on=part, how="anti"), latest(source.contract, source.restated, here, rows).rows]
        )
    return table.sort(source.contract.key)


@st.composite
def spends(draw: st.DrawFn) -> list[Telling]:
    """Files told at different times; a line's number keeps lines apart, as an ad group would."""
    files = []
    for at in range(draw(st.integers(1, 5))):
        lines = []
        for number in range(draw(st.integers(1, 6))):
            currency = draw(st.sampled_from(sorted(DIGITS)))
            minor = draw(st.integers(-(10**6), 10**9))
            campaign = draw(st.sampled_from(["", "7", "8"]))
            day = draw(st.sampled_from(["2026-02-01", "2026-02-02"]))
            amount = str(Decimal(minor).scaleb(-DIGITS[currency]))
            name = draw(st.sampled_from([None, "Brand"]))
            account = draw(st.sampled_from(["1", "2"]))
            lines.append(line(date=day, ad_account=account, campaign_id=campaign, campaign_name=name,
                              currency=currency, amount=amount, ad_group=str(number)))  # fmt: skip
        files.append((NOW + timedelta(hours=at), lines))
    return files


@pytest.mark.slow
@given(spends(), st.randoms(use_true_random=False))
@settings(max_examples=60 * TIMES)
def test_the_sum_is_that_of_the_files_told_last_in_any_order(files: list[Telling], chance: Any):
    expected: dict[tuple[str, str, str, str], Decimal] = {}
    last = {(row["date"], row["ad_account"]): at for at, lines in files for row in lines}
    for at, lines in files:
        for row in lines:
            if last[row["date"], row["ad_account"]] == at:
                key = (row["date"], row["ad_account"], row["currency"], row["campaign_id"])
                expected[key] = expected.get(key, Decimal()) + Decimal(row["amount"])
    mixed = files + files[:2]  # a file taken in again changes nothing
    chance.shuffle(mixed)
    table = told(SPEND, mixed)
    assert table.equals(told(SPEND, files))
    found: dict[tuple[str, str, str, str], Decimal] = {}
    for row in table.iter_rows(named=True):
        key = (str(row["date"]), row["ad_account"], row["currency"], row["campaign_id"])
        found[key] = found.get(key, Decimal()) + Decimal(row["amount"]).scaleb(-DIGITS[row["currency"]])
    assert found == expected


@given(st.permutations([line(amount="1.00"), line(amount="2.00", clicks="9"), line(amount="2.00", campaign_id="8")]))
def test_files_of_one_instant_end_the_same_in_any_order(lines: list[Line]):
    (row,) = told(SPEND, [(NOW, [one]) for one in lines]).iter_rows(named=True)
    assert (row["campaign_id"], row["amount"]) == ("8", 200)


def test_lines_of_a_campaign_add_up_and_a_line_that_is_there_twice_does_not():
    lines = [line(ad_group="a"), line(ad_group="b", clicks=None), line(ad_group="a"), line(campaign_id=None, clicks="")]
    found = SPEND.parse([(f"row {n}", row) for n, row in enumerate(lines, 1)], extracted_at=NOW, told_at=NOW)
    assert found.rows.select("campaign_id", "amount", "clicks", "impressions").rows() == [
        ("7", 2000, 3, 200),
        ("", 1000, None, 100),
    ]
    assert [(row.key, row.reasons) for row in found.refused] == [("2026-02-01:google:1:row 3", "row:twice_in_one_file")]


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({"date": "1 Feb"}, "row 1", "date:not_a_date"),
        ({"platform": " "}, "row 1", "platform:missing"),
        ({"platform": "--"}, "row 1", "platform:not_a_name"),
        ({"ad_account": None}, "row 1", "ad_account:missing"),
        ({"currency": "euro"}, "2026-02-01:google:1:row 1", "currency:not_an_ISO_4217_code"),
        ({"currency": None}, "2026-02-01:google:1:row 1", "currency:missing"),
        ({"amount": "1,234.50"}, "2026-02-01:google:1:row 1", "amount:not_an_amount"),
        ({"amount": "NaN"}, "2026-02-01:google:1:row 1", "amount:not_an_amount"),
        ({"amount": "1e30"}, "2026-02-01:google:1:row 1", "amount:not_an_amount"),
        ({"amount": "1000000000001"}, "2026-02-01:google:1:row 1", "amount:not_an_amount"),
        ({"amount": None}, "2026-02-01:google:1:row 1", "amount:missing"),
        ({"amount": "1.005"}, "2026-02-01:google:1:row 1", "amount:more_digits_than_EUR_has"),
        ({"amount": "1.5", "currency": "jpy"}, "2026-02-01:google:1:row 1", "amount:more_digits_than_JPY_has"),
        ({"told_at": "noon"}, "2026-02-01:google:1:row 1", "told_at:not_a_time"),
        ({"told_at": "2099-01-01T00:00:00Z"}, "2026-02-01:google:1:row 1", "told_at:in_the_future"),
    ],
)
def test_a_line_that_cannot_be_read_says_which_field_and_why(change: Line, key: str, reason: str):
    found = SPEND.parse([("row 1", line(**change)), ("row 2", line())], extracted_at=NOW, told_at=NOW)
    assert found.rows["amount"].to_list() == [1000]
    assert [(row.key, row.reasons, row.stored) for row in found.refused] == [(key, reason, False)]


@pytest.mark.parametrize(
    ("clicks", "reason"), [("-1", "negative"), ("2.5", "not_a_whole_number"), ("9" * 30, "not_a_whole_number")]
)
def test_clicks_that_cannot_be_read_do_not_take_the_money_with_them(clicks: str, reason: str):
    found = SPEND.parse([("row 1", line(clicks=clicks)), ("row 2", line())], extracted_at=NOW, told_at=NOW)
    assert found.rows.select("amount", "clicks").rows() == [(2000, 3)]
    assert [(row.reasons, row.stored) for row in found.refused] == [(f"clicks:{reason}", True)]


def test_spelling_variants_of_a_platform_and_an_account_are_one():
    lines = [
        line(platform="Google Ads", ad_account="123-456-7890"),
        line(platform="google_ads", ad_account="1234567890"),
    ]
    table = told(SPEND, [(NOW, lines)])
    assert table.select("platform", "ad_account", "amount").rows() == [("google_ads", "1234567890", 2000)]


def test_a_month_and_kind_told_again_is_replaced():
    first: list[Line] = [
        {"month": "2026-02", "kind": "Salaries", "currency": "EUR", "amount": "100.50", "team": "1"},
        {"month": "2026-02-01", "kind": "salaries", "currency": "EUR", "amount": "100.50", "team": "2"},
        {"month": "2026-02", "kind": "salaries", "currency": "JPY", "amount": "5000"},
        {"month": "2026-02", "kind": "trade fairs", "currency": "EUR", "amount": "7"},
        {"month": "2026-02-15", "kind": "tools", "currency": "EUR", "amount": "7"},
    ]
    again: list[Line] = [{"month": "2026-02", "kind": "salaries", "currency": "EUR", "amount": "90"}]
    files = [(NOW, first), (NOW + timedelta(days=1), again)]
    for order in (files, files[::-1]):
        rows = told(COSTS, order).select("month", "kind", "currency", "amount").rows()
        assert rows == [(date(2026, 2, 1), "salaries", "EUR", 9000), (date(2026, 2, 1), "trade_fairs", "EUR", 700)]
    assert told(COSTS, files[:1])["amount"].to_list() == [20100, 5000, 700]
    (refused,) = COSTS.parse([("row 5", first[4])], extracted_at=NOW, told_at=NOW).refused
    assert refused.reasons == "month:not_a_month"


def test_rates_are_exact_and_the_one_told_later_stays():
    def rate(text: str, **more: Any) -> Line:
        return {"date": "2026-02-01", "from": "x", "from_currency": "usd", "to_currency": "EUR", "rate": text} | more

    files = [
        (NOW, [rate("0.9170")]),
        (NOW + timedelta(days=1), [rate("0.92123456789012345"), rate("1", date="2026-02-02")]),
    ]
    for order in (files, files[::-1]):
        assert told(RATES, order)["rate"].to_list() == ["0.92123456789012345", "1"]
    assert told(RATES, files[:1]).select("from_currency", "rate").rows() == [("USD", "0.917")]
    bad = [rate("0"), rate("-1"), rate("1e3"), rate("1,2"), rate("1", to_currency="EURO")]
    found = RATES.parse([(str(n), row) for n, row in enumerate(bad)], extracted_at=NOW, told_at=NOW)
    assert [row.reasons for row in found.refused] == ["rate:not_a_number_above_zero"] * 4 + [
        "to_currency:not_an_ISO_4217_code"
    ]


@pytest.fixture
def reader(tmp_path: Path) -> SourceReader:
    return SourceReader(Readings(Warehouse(tmp_path / "data"), FixedClock(NOW)), tmp_path / "inbox")


def drop(reader: SourceReader, name: str, lines: list[Line], hour: int) -> None:
    """Put a file into the inbox that was last modified at an hour, and take it in."""
    path = reader.inbox / "spend" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".ndjson":
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    elif path.suffix == ".parquet":
        pl.DataFrame(lines).with_columns(pl.col("date").str.to_date(), pl.col("clicks").cast(pl.Int64)).write_parquet(
            path
        )
    else:
        pl.DataFrame(lines).write_csv(path)
    moment = (NOW + timedelta(hours=hour)).timestamp()
    os.utime(path, (moment, moment))
    reader.read(SPEND, None, NOW)


FILES: list[tuple[str, list[Line], int]] = [
    ("a.csv", [line(amount="10.00"), line(campaign_id=None, campaign_name=None, amount="2.50")], 1),
    ("b.parquet", [line(amount="11.00"), line(campaign_id="9", amount="-0.50")], 2),
    ("c.ndjson", [line(date="2026-02-02", amount="0.10"), line(date="2026-02-02", amount="?", campaign_id="8")], 3),
    ("d.csv", [line(date="2026-02-02", amount="0.20")], 4),
]


@pytest.mark.warehouse
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_files_of_every_kind_end_the_same_in_any_order(reader: SourceReader, order: tuple[int, ...]):
    for place in order:
        drop(reader, *FILES[place])
    drop(reader, *FILES[order[0]])
    with reader.readings.warehouse.session() as session:
        rows = session.query("SELECT date, campaign_id, amount FROM raw.ad_spend ORDER BY ALL").rows()
        waiting = session.quarantine.waiting("raw.ad_spend")
    first, second = date(2026, 2, 1), date(2026, 2, 2)
    assert rows == [(first, "7", 1100), (first, "9", -50), (second, "7", 20)]
    assert waiting == []


@pytest.mark.warehouse
def test_a_file_of_another_clock_is_told_now(reader: SourceReader):
    """The demo plays in the past: a file written today is not from its future."""
    drop(reader, "today.csv", [line(amount="3.00")], 24 * 200)
    with reader.readings.warehouse.session() as session:
        assert session.query("SELECT amount, told_at FROM raw.ad_spend").rows() == [(300, NOW)]


@pytest.mark.warehouse
def test_a_refused_line_waits_until_its_day_is_told_again(reader: SourceReader):
    drop(reader, *FILES[2])
    with reader.readings.warehouse.session() as session:
        assert session.query("SELECT key, reasons FROM quarantine.ad_spend").rows() == [
            ("2026-02-02:google:1:c.ndjson row 2", "amount:not_an_amount")
        ]
    drop(reader, *FILES[0])
    with reader.readings.warehouse.session() as session:
        assert session.quarantine.waiting("raw.ad_spend") != []
    drop(reader, *FILES[3])
    with reader.readings.warehouse.session() as session:
        assert session.quarantine.waiting("raw.ad_spend") == []
