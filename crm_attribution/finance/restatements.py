"""finance.restatement: how each credited figure moved, and what moved it.

The deltas of an outcome are what its history says (`rules.restatements.deltas`), at every instant: an hour that died or
runs again ends in the same rows. What moved a figure is looked for when its row is written, and kept.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.contracts.finance import CAUSES
from crm_attribution.finance.evidence import KEYS, SECTIONS, Run, evidence
from crm_attribution.finance.rules import restatements as rule
from crm_attribution.finance.rules.restatements import FIGURE, OUTCOME
from crm_attribution.finance.versions import AT_A_TIME
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.session import Session

RESTATEMENT, RULE = "finance.restatement", "finance.rule_version"

_EVERY = "SELECT DISTINCT milestone, milestone_id FROM attribution.credit"
_RELABELLED = """
    SELECT DISTINCT milestone, milestone_id FROM attribution.credit SEMI JOIN (
        SELECT touch_id FROM finance.touch_version WHERE recorded_at = $1
        INTERSECT SELECT touch_id FROM finance.touch_version WHERE superseded_at = $1
    ) USING (touch_id)
"""
_HISTORY = """
    WITH credit AS (FROM attribution.credit SEMI JOIN asked USING (milestone, milestone_id)),
    outcome AS (
        SELECT milestone, milestone_id, booked_on, recorded_at, superseded_at FROM finance.milestone_version
            SEMI JOIN asked USING (milestone, milestone_id)
        UNION ALL SELECT milestone, milestone_id, booked_on, recorded_at, superseded_at FROM finance.revenue_version
            SEMI JOIN asked USING (milestone, milestone_id)
    ),
    dated AS (
        SELECT credit.*, date_trunc('month', booked_on)::DATE AS booked_month,
            greatest(credit.recorded_at, outcome.recorded_at) AS opens,
            least(credit.superseded_at, outcome.superseded_at) AS closes
        FROM credit JOIN outcome USING (milestone, milestone_id)
        WHERE opens < coalesce(closes, 'infinity')
    ),
    label AS (FROM finance.touch_version SEMI JOIN credit USING (touch_id))
    SELECT milestone, milestone_id, model, scope, measure, booked_month, currency, home_currency, credit, credit_home,
        CASE WHEN dated.touch_id = '' THEN 'Unattributed' ELSE coalesce(channel, 'Unknown') END AS channel,
        greatest(opens, label.recorded_at) AS since, least(closes, label.superseded_at) AS until
    FROM dated LEFT JOIN label ON label.touch_id = dated.touch_id
        AND greatest(opens, label.recorded_at) < coalesce(least(closes, label.superseded_at), 'infinity')
"""


def note_rules(session: Session, rules: Rules, now: datetime) -> dict[str, str]:
    """Record the sections of the mapping that changed since the last run: section -> its row as `TABLE KEY`. Nothing of
    the first run, before which there were no rules."""
    held = session.read(RULE).sort("recorded_at").unique("section", keep="last")
    known = dict(held.select("section", "signature").iter_rows())
    found = pl.DataFrame({"section": SECTIONS, "signature": [rules.signature(name) for name in SECTIONS]})
    new = found.filter(pl.col("signature") != pl.col("section").replace_strict(known, default=None))
    rows = (found if not known else new).with_columns(recorded_at=pl.lit(now))
    session[RULE].upsert(rows)
    if not known:
        return {}
    shown = session.query(
        f"SELECT section, '{RULE} ' || {KEYS[RULE]} AS row FROM {RULE} SEMI JOIN new USING (section, recorded_at)",
        new=rows,
    )
    return dict(shown.iter_rows())


def update(session: Session, changes: Changes, rules: Rules, sections: dict[str, str], now: datetime) -> int:
    """Write the deltas of the outcomes that changed. Returns the rows written and removed."""
    run = Run(changes, rules, sections)
    keys = _outcomes(session, changes, now)
    return sum(_restate(session, part, run) for part in keys.iter_slices(AT_A_TIME)) if keys.height else 0


def _outcomes(session: Session, changes: Changes, now: datetime) -> pl.DataFrame:
    if changes.everything:
        return session.query(_EVERY).sort(OUTCOME)
    keys = changes.frame(topics.MILESTONE, topics.HOME_VALUE, topics.REVENUE_MOVEMENT, topics.CREDIT)
    return pl.concat([keys, session.query(_RELABELLED, [now])]).unique().sort(OUTCOME)


def _restate(session: Session, keys: pl.DataFrame, run: Run) -> int:
    history = rule.by_basis(session.query(_HISTORY, asked=keys))
    wanted = rule.deltas(history)
    held = session.read_keys(RESTATEMENT, keys)
    compared = wanted.columns
    gone = held.join(wanted, on=compared, how="anti")
    missing = wanted.join(held, on=compared, how="anti")
    session[RESTATEMENT].delete(gone.select(*FIGURE, "recorded_at"))
    session[RESTATEMENT].append_told(_caused(session, missing, run))
    return gone.height + missing.height


def _caused(session: Session, rows: pl.DataFrame, run: Run) -> pl.DataFrame:
    """The rows with their causes. Before this run nobody looked for causes where there is none."""
    if rows.is_empty():
        return rows.with_columns(**dict.fromkeys(("cause", "cause_table", "cause_key"), pl.lit("")))
    asked = rows.group_by(OUTCOME).agg(before=pl.col("recorded_at").min())
    found = evidence(session, asked, run)
    if run.changes.everything and not run.sections:
        late = pl.col("recorded_at") > pl.col("recorded_at").min().over(OUTCOME)
        older = found.with_columns(not_recorded="unexplained")
        first = rule.causes(rows.filter(~late), older, list(CAUSES))
        return pl.concat([first, rule.causes(rows.filter(late), older, ["not_recorded"])])
    return rule.causes(rows, found.with_columns(not_recorded=pl.lit(None, pl.String)), list(CAUSES))
