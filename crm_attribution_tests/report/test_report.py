"""The report: each figure stands in the published file, nothing of it needs a network, and texts stay texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
import vl_convert

from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.about import Origin
from crm_attribution.marts.publish import publish
from crm_attribution.report.build import PLACE, build
from crm_attribution.report.page import figure, render
from crm_attribution.report.sections import CARDS, SECTIONS
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution_tests.marts import sample_rows
from crm_attribution_tests.report import checked

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A warehouse of the sample rows, published."""
    made = Warehouse(tmp_path_factory.mktemp("report"))
    with made.session() as session:
        sample_rows.fill(session, sample_rows.tables())
        sample_rows.build(session)
    _publish(made, NOW)
    return made


def _publish(warehouse: Warehouse, now: datetime) -> None:
    with warehouse.session() as session:
        of = Origin("1", "Europe/Berlin", "EUR", "m1", "0.1")
        publish(session.connection, marts_path=warehouse.marts_path, target=warehouse.finance_path, as_of=now, tests=(),
                now=now, of=of)  # fmt: skip


@pytest.mark.warehouse
def test_every_figure_is_a_row_of_the_published_file(warehouse: Warehouse) -> None:
    report = warehouse.directory / PLACE
    built = build(warehouse.finance_path, report)
    assert built.written
    assert checked.differences(report, warehouse.finance_path) == {}
    page = checked.read(report)
    assert {CARDS.key, "revenue", "funnel", "arr", "wins"} <= page.figures.keys(), "the sample has figures in each"
    assert page.queries.keys() == {CARDS.key, *(section.key for section in SECTIONS)}
    wrong = [one for one in page.shown if Decimal(re.sub(r"[^0-9.-]", "", one[1])) != Decimal(one[0])]
    assert not wrong, "what is shown is the value, not a rounded one"
    assert built.charts.keys() >= {"Won revenue by channel and model", "ARR bridge"}


@pytest.mark.warehouse
def test_charts_that_show_what_they_showed_are_not_drawn_again(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.html"
    first = build(warehouse.finance_path, report)
    of_another = report.read_text(encoding="utf-8").replace('name="made-of" content="', 'name="made-of" content="0')
    report.unlink()
    report.write_text(of_another, encoding="utf-8")
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", None)
    again = build(warehouse.finance_path, report)
    assert again.written
    assert again.charts == first.charts
    assert not build(warehouse.finance_path, report).written
    assert " at 0x" not in repr(SECTIONS), "another process writes it anew"


@pytest.mark.warehouse
def test_a_figure_that_is_changed_by_hand_is_found(warehouse: Warehouse, tmp_path: Path) -> None:
    report = tmp_path / "a.html"
    build(warehouse.finance_path, report)
    text = report.read_text(encoding="utf-8")
    value = checked.read(report).figures["revenue"][0]
    report.chmod(0o600)
    report.write_text(text.replace(f'data-value="{value}"', f'data-value="{value + 1}"', 1), encoding="utf-8")
    assert checked.differences(report, warehouse.finance_path)


@pytest.mark.warehouse
def test_one_file_without_a_network_written_only_for_another_snapshot(warehouse: Warehouse, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "a.html"
    assert build(warehouse.finance_path, report).written
    text = report.read_text(encoding="utf-8")
    addresses = {found for found in re.findall(r"(?:https?:)?//[^\s\"'<>)]+", text) if "www.w3.org" not in found}
    assert not addresses
    assert not re.findall(r"<(?:script|link|img|iframe)", text)
    again = build(warehouse.finance_path, report)
    assert (again.written, again.charts, again.cards.height) == (
        False,
        {},
        build(warehouse.finance_path, report).cards.height,
    )
    with warehouse.session() as session:
        session.connection.execute(
            "UPDATE marts_file.marts.milestone SET account_name = 'Other' WHERE deal_id IS NOT NULL"
        )
    _publish(warehouse, NOW + timedelta(hours=1))
    assert build(warehouse.finance_path, report).written
    assert list(report.parent.iterdir()) == [report], "no file is left beside it"


def test_without_a_published_file_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not there yet"):
        build(tmp_path / "finance.duckdb", tmp_path / "a.html")


@pytest.mark.warehouse
def test_an_empty_file_gives_a_page_that_says_so(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with warehouse.session() as session:
        sample_rows.build(session)
    _publish(warehouse, NOW)
    assert build(warehouse.finance_path, tmp_path / "a.html").charts == {}
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert all(section.empty in text for section in SECTIONS)


def test_names_from_hubspot_stay_text() -> None:
    empty = pl.DataFrame({"label": ["a"], "value": [1], "unit": ["EUR"]})
    rows = {CARDS.key: empty, **{section.key: pl.DataFrame() for section in SECTIONS}}
    rows["wins"] = pl.DataFrame({"account": ["<script>alert(1)</script> & Co"], "amount": [Decimal("1234567.5")]})
    about = dict.fromkeys(("as_of", "snapshot_id", "portal_id", "time_zone", "home_currency", "mapping_version"), "x")
    text = render(about, rows, {}, made="x")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Co" in text
    assert "<script>" not in text
    assert '<td class="number" data-value="1234567.5">1,234,567.50</td>' in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1234567, "1,234,567"), (-5, "-5"), (Decimal("0.00"), "0.00"), (Decimal("1234.5"), "1,234.50"),
     (Decimal("-0.10"), "-0.10"), (Decimal("26.4"), "26.40"), (Decimal("1.0049"), "1.0049"),
     (Decimal("3.000"), "3.00")],
)  # fmt: skip
def test_figures_are_shown_exactly(value: int | Decimal, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.warehouse
def test_no_figure_is_a_float(warehouse: Warehouse) -> None:
    with duckdb.connect(str(warehouse.finance_path), read_only=True) as connection:
        for section in (CARDS, *SECTIONS):
            kinds = {str(kind) for kind in connection.sql(section.sql).types}
            assert not kinds & {"DOUBLE", "FLOAT", "HUGEINT"}, section.key
