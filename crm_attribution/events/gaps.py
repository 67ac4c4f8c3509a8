"""events.gap: what the figures leave out, and why, named one by one: stages no list names, pipelines without a kind,
mapping entries that contradict HubSpot, deals that cannot be read, currencies without a rate. events.stage: what each
stage means."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.events.rules.deal_stages import disagreeing_stages, stage_meanings
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session

_ENTRIES = (
    "SELECT to_stage, pipeline, record_id, observed_at FROM events.event WHERE object_type = 'deals'"
    " AND event NOT IN ('deal_amount_changed', 'stage_skipped')"
)


def update(session: Session, changes: Changes, rules: Rules, _as_of: datetime) -> Report:
    """Name every gap and the meaning of every stage, where anything that makes one may have changed."""
    report = Report()
    if not changes.idle:
        stages = session.read("raw.pipeline_stage")
        frame = pl.concat(
            [
                _unknown_stages(session, list(rules.deals.own)),
                _unmapped_pipelines(session, list(rules.deals.pipelines)),
                disagreeing_stages(stages, rules.deals),
                _refused_deals(session),
                _missing_rates(session),
            ]
        )
        report.changed = session["events.gap"].replace(frame, None).filter("_came").height
        of_deals = stages.filter(pl.col("object_type") == "deals")
        session["events.stage"].replace(stage_meanings(of_deals, rules.deals), None)
    report.figures = dict(session.query("SELECT gap, count(*) FROM events.gap GROUP BY 1 ORDER BY 1").iter_rows())
    report.rows = sum(int(count) for count in report.figures.values())
    return report


def _unknown_stages(session: Session, own: list[str]) -> pl.DataFrame:
    """Stages that deals were in, which no list of pipelines names and the mapping does not either."""
    return session.query(
        f"SELECT 'stage_unknown' AS gap, to_stage AS subject, count(DISTINCT record_id) AS records,"
        f" min(observed_at) AS first_at FROM ({_ENTRIES}) ANTI JOIN raw.pipeline_stage ON stage_id = to_stage"
        " ANTI JOIN own ON own.stage = to_stage WHERE to_stage IS NOT NULL GROUP BY to_stage ORDER BY 2",
        own=ids_frame("stage", own),
    )


def _unmapped_pipelines(session: Session, mapped: list[str]) -> pl.DataFrame:
    """Pipelines that have deals but no kind in the mapping."""
    return session.query(
        f"SELECT 'pipeline_unmapped' AS gap, pipeline AS subject, count(DISTINCT record_id) AS records,"
        f" min(observed_at) AS first_at FROM ({_ENTRIES})"
        " ANTI JOIN mapped ON mapped.name = pipeline WHERE pipeline IS NOT NULL GROUP BY pipeline ORDER BY 2",
        mapped=ids_frame("name", mapped),
    )


def _refused_deals(session: Session) -> pl.DataFrame:
    """Deals whose newest version cannot be read: their figures come from an older version."""
    return session.query(
        "SELECT 'deal_refused' AS gap, key AS subject, 1::BIGINT AS records, min(observed_at) AS first_at"
        " FROM quarantine.deal WHERE NOT resolved AND NOT coalesce(stored, false) GROUP BY key ORDER BY 2"
    )


def _missing_rates(session: Session) -> pl.DataFrame:
    """Currencies of which some amounts have no rate."""
    return session.query(
        "SELECT 'rate_missing' AS gap, value.currency AS subject, count(*) AS records, min(occurred_at) AS first_at"
        " FROM (SELECT value.currency, occurred_at FROM events.home_value AS value"
        " JOIN events.milestone USING (milestone, milestone_id)"
        " WHERE rate IS NULL AND state = 'live' AND suppressed_by IS NULL"
        " UNION ALL SELECT currency, starts_on::TIMESTAMPTZ FROM events.home_spend WHERE rate IS NULL) AS value"
        " GROUP BY value.currency ORDER BY 2"
    )
