"""What all tellers share: rules seen for an account, from when they tell, and the rows they plan."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl

from crm_attribution.conversions.teller import Work
from crm_attribution.identifiers import delivery_key
from crm_attribution.ledger import entries
from crm_attribution.ledger.store import Book
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox
from crm_attribution_tests.helpers import at

HOUR = timedelta(hours=1)
US = pl.Datetime("us", "UTC")


def work(book: Book) -> Work:
    account = cast(Any, SimpleNamespace(key="meta:1", id="1", destination=SMALL["meta"]))
    nothing = cast(Any, None)
    return Work(nothing, book, account, nothing, start=NOW - HOUR, changes=nothing, now=NOW)


def outbox(folder: Path) -> Outbox:
    made = Outbox(folder, {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "1"}, SMALL["meta"], tag="")
    made.ledger.create()
    return made


def test_a_rule_tells_from_when_its_own_account_saw_it_first_unless_it_says_another_time(tmp_path: Path):
    with outbox(tmp_path).ledger.writing() as book:
        entries.activate(book, "meta:1", "link_click", "x", "start")
        entries.activate(book, "meta:2", "link_click", "y", "start")
        mine = work(book)
        assert mine.seen() == {("link_click", "x"): "start"}
        assert mine.begin("start") == mine.begin(None) == NOW - HOUR
        assert mine.begin("2026-01-01T00:00:00Z") == at("2026-01-01T00:00:00Z")
        assert mine.begin("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z") == at("2026-02-01T00:00:00Z")
        assert mine.oldest == NOW - SMALL["meta"].limits.max_age


def test_a_planned_row_is_pending_or_suppressed_for_its_reason_and_is_planned_once(tmp_path: Path):
    told = outbox(tmp_path)
    row = {"action": "x", "milestone": "link_click", "occurred_at": NOW - HOUR, "ready_at": NOW, "reason": None}
    planned = pl.DataFrame(
        [{**row, "milestone_id": "a"}, {**row, "milestone_id": "b", "reason": "skipped_by_rule"}],
        schema_overrides={"reason": pl.String, "occurred_at": US, "ready_at": US},
    )
    with told.ledger.writing() as book:
        assert work(book).insert(planned) == [delivery_key("meta", "1", "x", name, 0) for name in "ab"]
        assert work(book).insert(planned) == []
        later = planned.head(1).with_columns(milestone_id=pl.lit("c"), expires_at=pl.lit(NOW + HOUR)).drop("reason")
        assert len(work(book).insert(later)) == 1
        assert work(book).insert(planned.clear()) == []
    rows = told.rows()
    shown = ("state", "reason", "revision", "attempts")
    assert {name: tuple(each[column] for column in shown) for name, each in rows.items()} == {
        "a": ("pending", None, 0, 0),
        "b": ("suppressed", "skipped_by_rule", 0, 0),
        "c": ("pending", None, 0, 0),
    }
    age = SMALL["meta"].limits.max_age
    assert [rows[name]["expires_at"] for name in "abc"] == [NOW - HOUR + age, NOW - HOUR + age, NOW + HOUR]
    assert {(each["kind"], each["event_id"], each["account"]) for each in rows.values()} == {
        ("conversion", name, "1") for name in "abc"}  # fmt: skip
