"""Clicks dropped as files: loaded once, archived, bad rows named by file and row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from crm_attribution.clock import FixedClock
from crm_attribution.raw.plugins import SourceReader
from crm_attribution.raw.reading import Readings
from crm_attribution.sources.link_clicks import SOURCE
from crm_attribution.warehouse.connection import Warehouse

pytestmark = pytest.mark.pipeline

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def reader(tmp_path: Path) -> SourceReader:
    return SourceReader(Readings(Warehouse(tmp_path / "data"), FixedClock(NOW)), tmp_path / "inbox")


def click(number: int, **more: object) -> dict[str, object]:
    at = f"2026-03-01T10:0{number}:00Z"
    return {"click_id": f"c{number}", "clicked_at": at, "destination_url": "https://x.example/?utm_source=news", **more}


def test_files_of_every_kind_are_loaded_once_and_archived(reader: SourceReader, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    folder = inbox / "clicks"
    folder.mkdir(parents=True)
    bad = {"click_id": "c9", "clicked_at": "yesterday", "destination_url": "https://x.example"}
    lines = [json.dumps(click(1)), "not json", json.dumps(bad)]
    (folder / "a.ndjson").write_text("\n".join(lines))
    pl.DataFrame([click(2, user_agent="Googlebot/2.1")]).write_csv(folder / "b.csv")
    pl.DataFrame([click(3, method="HEAD")]).write_parquet(folder / "c.parquet")
    (folder / "d.xlsx").write_bytes(b"spreadsheet")
    (folder / "e.csv").write_text("c8,jane@acme.example\n", encoding="utf-8")

    report = reader.read(SOURCE, None, NOW)

    assert report.rows == 3
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in (inbox / "archive" / "clicks").iterdir()) == [
        "a.ndjson",
        "b.csv",
        "c.parquet",
        "d.xlsx",
        "e.csv",
    ]
    with reader.readings.warehouse.session() as session:
        rows = session.read("raw.link_click").sort("click_id")
        refused = dict(session.query("SELECT key, reasons FROM quarantine.link_click").iter_rows())
    assert rows.select("click_id", "utm_source", "bot_reason").rows() == [
        ("c1", "news", None),
        ("c2", "news", "known_agent"),
        ("c3", "news", "method_head"),
    ]
    assert refused["c9"] == "clicked_at:not_a_time"
    assert any(key.startswith("a.ndjson row 2") for key in refused)
    assert refused["d.xlsx"].startswith("file:unknown kind")
    assert refused["e.csv"].startswith("file:no column of its first line is known; name some of click_id, ")
    assert "jane" not in refused["e.csv"]


def test_a_file_dropped_again_changes_nothing(reader: SourceReader, tmp_path: Path) -> None:
    folder = tmp_path / "inbox" / "clicks"
    folder.mkdir(parents=True)
    for _ in range(2):
        (folder / "again.ndjson").write_text(json.dumps(click(1)))
        last = reader.read(SOURCE, None, NOW)
    assert last.changed == 0
    with reader.readings.warehouse.session() as session:
        assert session.read("raw.link_click").height == 1


def test_a_stale_file_does_not_bring_back_an_erased_contact(reader: SourceReader, tmp_path: Path) -> None:
    folder = tmp_path / "inbox" / "clicks"
    folder.mkdir(parents=True)
    with reader.readings.warehouse.session() as session:
        session.connection.execute(
            "INSERT INTO raw.deletion VALUES ('contacts', '7', 'privacy', now(), NULL, 'webhook', now(), now())"
        )
    lines = [click(1, contact_id="7"), click(2, contact_id="8"), click(3)]
    (folder / "stale.ndjson").write_text("\n".join(map(json.dumps, lines)))
    report = reader.read(SOURCE, None, NOW)
    with reader.readings.warehouse.session() as session:
        assert sorted(session.read("raw.link_click")["click_id"]) == ["c2", "c3"]
    assert report.figures["rows of erased contacts left out"] == 1
