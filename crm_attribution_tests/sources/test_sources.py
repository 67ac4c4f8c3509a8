"""A source of files alone is an instance and a contract; one with an API needs its settings whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crm_attribution.clock import FixedClock
from crm_attribution.configuration import load
from crm_attribution.contracts import CONTRACTS
from crm_attribution.contracts.base import Model, Strings, Timestamp, field, hubspot_id, table
from crm_attribution.errors import ConfigurationError
from crm_attribution.raw.plugins import SourceReader
from crm_attribution.raw.reading import Readings
from crm_attribution.settings import read
from crm_attribution.sources import sources
from crm_attribution.sources.base import Source, columns
from crm_attribution.sources.link_clicks import SOURCE as LINK_CLICKS
from crm_attribution.warehouse.connection import Warehouse

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {"day": "2026-02-01", "campaign": "Brand", "cost_minor": "1200", "share": "0.5", "paid": "TRUE", "tags": "a, b",
        "booked_at": "2026-02-02T00:00:00+01:00", "contact_id": ""}  # fmt: skip


@pytest.fixture
def costs() -> Iterator[Source]:
    @table("raw.cost_of_a_test", key=("day", "campaign"))
    class Cost(Model):
        """Costs by day and campaign."""

        day: pl.Date = field("day, UTC")
        campaign: str = field("name of the campaign")
        cost_minor: int = field("minor units of EUR", ge=0)
        share: float = field("part of the budget", nullable=True)
        paid: bool = field("whether it is paid", nullable=True)
        tags: Strings = field("labels", nullable=True)
        booked_at: Timestamp = field("when it was booked, UTC", nullable=True)
        contact_id: int = hubspot_id("a contact", nullable=True)
        extracted_at: Timestamp = field("when we read it, UTC", log=True)

    yield Source(name="costs", table="raw.cost_of_a_test", folder="costs", owner_column="contact_id")
    del CONTRACTS["raw.cost_of_a_test"]


def parse(source: Source, *rows: dict[str, Any]):
    return source.parse([(f"row {n}", row) for n, row in enumerate(rows, 1)], extracted_at=NOW)


def test_rows_are_read_by_the_types_of_the_contract(costs: Source):
    (row,) = parse(costs, {**GOOD, "unknown": "left out"}).rows.rows(named=True)
    assert row == {
        "day": date(2026, 2, 1),
        "campaign": "Brand",
        "cost_minor": 1200,
        "share": 0.5,
        "paid": True,
        "tags": ["a", "b"],
        "booked_at": datetime(2026, 2, 1, 23, tzinfo=UTC),
        "contact_id": None,
        "extracted_at": NOW,
    }


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({"day": None}, "row 1", "day:missing"),
        ({"campaign": "  "}, "row 1", "campaign:missing"),
        ({"day": "1 Feb"}, "1 Feb:Brand", "day:not_a_date"),
        ({"cost_minor": "12.5"}, "2026-02-01:Brand", "cost_minor:not_a_whole_number"),
        ({"cost_minor": "9" * 19}, "2026-02-01:Brand", "cost_minor:not_a_whole_number"),
        ({"cost_minor": "-1"}, "2026-02-01:Brand", "cost_minor:greater_than_or_equal_to(0)"),
    ],
)
def test_a_bad_row_is_refused_alone_and_says_where_it_stood(costs: Source, change: Any, key: str, reason: str):
    found = parse(costs, {**GOOD, **change}, {**GOOD, "campaign": "Other"})
    assert found.rows["campaign"].to_list() == ["Other"]
    (refused,) = found.refused
    assert (refused.key, refused.reasons, refused.source) == (key, reason, "row 1")
    assert json.loads(refused.row) == {**GOOD, **change}


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [("share", "half", "not_a_number"), ("paid", "yes", "not_true_or_false"), ("booked_at", "noon", "not_a_time")],
)
def test_a_field_a_row_may_be_without_is_left_out(costs: Source, column: str, text: str, reason: str):
    found = parse(costs, {**GOOD, column: text})
    assert found.rows[column].to_list() == [None]
    assert [(row.reasons, row.stored) for row in found.refused] == [(f"{column}:{reason}", True)]


@pytest.mark.slow
def test_files_of_a_source_that_nobody_wrote_code_for(costs: Source, tmp_path: Path):
    folder = tmp_path / "inbox" / "costs"
    folder.mkdir(parents=True)
    pl.DataFrame([GOOD, {**GOOD, "campaign": "Other", "contact_id": "7"}]).write_csv(folder / "costs.csv")
    warehouse = Warehouse(tmp_path / "data")
    with warehouse.session() as session:
        session.connection.execute(
            "INSERT INTO raw.deletion SELECT 'contacts', '7', 'privacy', now(), NULL, 'webhook', now(), now()"
        )
    reader = SourceReader(Readings(warehouse, FixedClock(NOW)), tmp_path / "inbox")
    report = reader.read(costs, None, None)
    assert (report.rows, report.figures["rows of erased contacts left out"]) == (1, 1)
    assert reader.read(costs, None, NOW).rows == 0
    with warehouse.session() as session:
        assert session.query("SELECT campaign FROM raw.cost_of_a_test")["campaign"].to_list() == ["Brand"]
        streams = session.query("SELECT stream, calls, found FROM raw.extraction ORDER BY started").rows()
    assert set(streams) == {("costs", 0, None)}
    assert [path.name for path in (tmp_path / "inbox" / "archive" / "costs").iterdir()] == ["costs.csv"]


def test_a_source_of_files_has_no_api(costs: Source):
    nothing = read([costs.group], {})
    assert costs.needed(nothing) == []
    assert not costs.connects(nothing)
    with pytest.raises(NotImplementedError, match="costs has no API"):
        costs.connection(nothing)


def test_an_api_is_configured_whole_or_not_at_all():
    assert LINK_CLICKS.needed(load({})) == []
    assert not LINK_CLICKS.connects(load({}))
    partly = load({"CLICKS_BASE_URL": "https://clicks.example"})
    with pytest.raises(ConfigurationError, match="CLICKS_TOKEN: your link service"):
        partly.require(LINK_CLICKS.needed(partly))
    whole = load({"CLICKS_BASE_URL": "https://clicks.example", "CLICKS_TOKEN": "secret-token"})
    whole.require(LINK_CLICKS.needed(whole))
    where = LINK_CLICKS.connection(whole)
    assert (where.base_url, where.credential) == ("https://clicks.example", "CLICKS_TOKEN")
    assert "secret-token" not in repr(where)


@pytest.mark.parametrize("source", sources().values(), ids=lambda source: source.name)
def test_every_source_conforms(source: Source):
    """Whatever a file of it holds, each row is stored or refused; only what the contract needs is needed."""
    assert source.contract.schema == "raw"
    assert "extracted_at" in {column.name for column in source.contract.columns if column.log}
    assert source.owner_column is None or source.owner_column in source.contract.polars_schema
    assert all(setting.where for setting in source.required)
    assert all(description for _, description, _ in columns(source))
    assert len({other.folder for other in sources().values()}) == len(sources())
    found = parse(
        source, {}, {name: "x" for name, _, _ in columns(source)}, {name: None for name, _, _ in columns(source)}
    )
    assert found.rows.height + len(found.refused) == 3
    assert parse(source).rows.is_empty()
