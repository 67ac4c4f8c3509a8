"""Gaps named one by one, and what each stage means, of rows written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crm_attribution.layers import GAPS, run
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.marts import sample_rows

RULES = """
deals:
  stages: {mine: deal_won, nowhere: deal_lost}
  pipelines: {default: new, renewals: renewal}
"""
FIRST, LATER = at("2026-03-01"), at("2026-03-02")


def entry(record: str, stage: str, pipeline: str | None = "default", **more: Any) -> dict[str, Any]:
    moment = more.pop("observed_at", LATER)
    return {"event_id": f"{record}{stage}{pipeline}{moment}", "event": "crm_stage_changed", "occurred_at": moment,
            "observed_at": moment, "time_basis": "history", "object_type": "deals", "object_id": record,
            "record_id": record, "to_stage": stage, "pipeline": pipeline, "undone": False, "mapping_version": "1",
            **more}  # fmt: skip


def refused(session: Session, *keys: str, stored: bool) -> None:
    rows = pl.DataFrame({"key": keys}).with_columns(
        reasons=pl.lit("amount:number"), row=pl.lit("{}"), source=pl.lit("x"), stored=pl.lit(stored)
    )
    session.quarantine.add("raw.deal", rows, observed_at=FIRST)


@pytest.mark.warehouse
def test_each_gap_is_named_with_its_deals_and_its_beginning(session: Session, tmp_path: Path):
    stages = [
        sample_rows.stage("started", 0, 0.2),
        sample_rows.stage("mine", 1, 0.5),  # your own word: won
        sample_rows.stage("closedwon", 2, 0.0, closed=True),  # the shipped word: won; HubSpot's: lost
        sample_rows.stage("closedlost", 3, 0.0, closed=True),
        sample_rows.stage("contractsent", 4, 1.0, closed=True) | {"archived": True},
        sample_rows.stage("own name", 5, 1.0, closed=True),
    ]
    events = [
        *(entry("1", "ghost", observed_at=moment) for moment in (LATER, FIRST)),
        entry("2", "ghost", None),
        entry("3", "nowhere", "renewals"),
        entry("3", "started", "strange"),
        entry("4", "closedlost", "strange", observed_at=FIRST),
        entry("4", "skipped", "skipped", event="stage_skipped"),
        entry("4", "priced", "priced", event="deal_amount_changed"),
        entry("9", "lead", "people", object_type="contacts"),
    ]
    sample_rows.fill(session, {"raw.pipeline_stage": stages, "events.event": events})
    refused(session, "5", "6", stored=False)
    refused(session, "7", stored=True)
    session.connection.execute("UPDATE quarantine.deal SET resolved = true WHERE key = '6'")
    mapping = rules(tmp_path, RULES)

    def gaps() -> list[tuple[Any, ...]]:
        return session.query("SELECT gap, subject, records, first_at FROM events.gap ORDER BY ALL").rows()

    report = run(GAPS, session, mapping, LATER)
    told = [
        ("deal_refused", "5", 1, FIRST),
        ("pipeline_unmapped", "strange", 2, FIRST),
        ("stage_disagrees", "closedwon", None, None),
        ("stage_disagrees", "mine", None, None),
        ("stage_unknown", "ghost", 2, FIRST),
    ]
    figures = {"deal_refused": 1, "pipeline_unmapped": 1, "stage_disagrees": 2, "stage_unknown": 1}
    assert gaps() == told
    assert (report.changed, report.rows, report.figures) == (5, 5, figures)
    assert session.query("SELECT stage_id, meaning, decided_by FROM events.stage ORDER BY 1").rows() == [
        ("closedlost", "lost", "hubspot"),
        ("closedwon", "lost", "hubspot"),
        ("contractsent", "won", "hubspot"),
        ("mine", "won", "mapping"),
        ("own name", "won", "hubspot"),
        ("started", "open", "hubspot"),
    ]
    session.connection.execute("UPDATE quarantine.deal SET resolved = true WHERE key = '5'")
    idle = run(GAPS, session, mapping, LATER)
    assert (idle.changed, idle.rows, gaps()) == (0, 5, told), "nothing was told since"
    session.journal.add("deals", ["5"])
    closed = run(GAPS, session, mapping, LATER)
    assert (closed.changed, closed.rows, gaps()) == (0, 4, told[1:])
