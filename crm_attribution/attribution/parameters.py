"""attribution.parameter: what of the mapping the marts need to know."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session


def update(session: Session, changes: Changes, rules: Rules, _as_of: datetime) -> Report:
    """Write the parameters again where the mapping changed."""
    report = Report()
    if not changes.idle:
        days = {str(outcome): number for outcome, number in rules.attribution.lookback_days.items()}
        rows: list[tuple[str, str, int]] = [
            ("lookback_days", outcome, days.get(outcome, days["default"])) for outcome in rules.attribution.outcomes
        ]
        if (margin := rules.spend.gross_margin_percent) is not None:
            rows.append(("gross_margin_percent", "", margin))
        frame = pl.DataFrame(rows, schema={"name": pl.String, "subject": pl.String, "value": pl.Int64}, orient="row")
        report.changed = session["attribution.parameter"].replace(frame, None).filter("_came").height
    report.rows = session.scalar("SELECT count(*) FROM attribution.parameter")
    return report
