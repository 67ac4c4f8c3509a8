"""Commands of finance: close-month, reopen-month, changed."""

from __future__ import annotations

import json
from datetime import datetime

import click

from crm_attribution.operations.console import Instant, acts_on_errors, given_settings, say

_SAID = (
    click.argument("month", metavar="YYYY-MM"),
    click.option("--by", required=True, help="Who: a name, which is published."),
    click.option("--reason", required=True, help="Why; it is published too."),
    click.option("--json", "as_json", is_flag=True),
)


def _change(op: str, month: str, by: str, reason: str, *, as_json: bool) -> None:
    from crm_attribution.orchestration.resources import progress
    from crm_attribution.orchestration.runs import run_job

    with progress(say):
        run_id, figures = run_job(given_settings(), f"{op}_month", {op: {"month": month, "by": by, "reason": reason}})
    if as_json:
        click.echo(json.dumps({"run_id": run_id, **figures}, indent=2))
    else:
        for name, value in figures.items():
            click.echo(f"{name}: {value}")


@click.command("close-month")
@_SAID[0]
@_SAID[1]
@_SAID[2]
@_SAID[3]
@acts_on_errors
def close_month(month: str, by: str, reason: str, as_json: bool) -> None:
    """Close a month and all before it: their published figures never move again; later differences are adjustments."""
    _change("close", month, by, reason, as_json=as_json)


@click.command("reopen-month")
@_SAID[0]
@_SAID[1]
@_SAID[2]
@_SAID[3]
@acts_on_errors
def reopen_month(month: str, by: str, reason: str, as_json: bool) -> None:
    """Reopen a closed month and all after it."""
    _change("reopen", month, by, reason, as_json=as_json)


@click.command()
@click.option("--since", type=Instant(), required=True, help="What was recorded after this instant.")
@click.option("--month", metavar="YYYY-MM", help="Only figures booked in this month.")
@click.option("--model", help="Attribution model; by default the first in the figures, by name.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Rows shown.")
@click.option("--json", "as_json", is_flag=True, help="All rows of all models, measures and bases, as one JSON list.")
@acts_on_errors
def changed(since: datetime, month: str | None, model: str | None, limit: int, as_json: bool) -> None:
    """Which figures of which month moved since an instant, by how much, why, and which row caused it."""
    from crm_attribution.operations import changed as changes
    from crm_attribution.operations import query

    rows = changes.changed(given_settings(), since, month)
    if as_json:
        click.echo(json.dumps(rows.rows(named=True), indent=2, default=str))
    else:
        query.show(changes.brief(rows, model), limit)
        if moved := changes.at_home_alone(rows):
            say(f"{moved} more moved in the home currency alone: see --json, or basis = 'home' in marts.restatement")
