"""The jobs `close_month` and `reopen_month`: checks, the month's row, the marts that show it, publication, a copy."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import dagster as dg
from pydantic import Field

from crm_attribution.errors import ConfigurationError, Terminal, WarehouseDamaged
from crm_attribution.finance import periods
from crm_attribution.marts.current import Models
from crm_attribution.marts.models import SqlModel, run_tests
from crm_attribution.orchestration.assets.common import PipelineParam, acting_on_errors
from crm_attribution.orchestration.assets.sql import MODELS, TESTS, publish_marts
from crm_attribution.orchestration.resources import Pipeline
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.checks import broken_conservation
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import newest_hour_end

CLOSE, REOPEN = "close_month", "reopen_month"

Change = Callable[[Session, date, str, str], list[date]]


class MonthChange(dg.Config):
    """Which month, who, and why. All three are published."""

    month: str = Field(description="YYYY-MM, in the account's time zone. Closing closes all months before it too.")
    by: str = Field(description="Who closes or reopens it: a name, no e-mail address.")
    reason: str = Field(description="Why.")


def change_month(pipeline: Pipeline, change: Change, config: MonthChange) -> dict[str, str]:
    """Close or reopen a month and publish.

    Raises:
        ConfigurationError: when the month cannot be closed or reopened, with the reason.
    """
    month = parse_month(config.month)
    with pipeline.warehouse.session() as session:
        if change is periods.close:
            _refuse_broken(session, month)
        months = change(session, month, config.by, config.reason)
        known = Models(session, newest_hour_end(session.state))
        for model in _affected():
            known.run(model)
    done, _ = publish_marts(pipeline)
    return {
        "months": ", ".join(f"{one:%Y-%m}" for one in months),
        "finance snapshot": done.snapshot_id,
        "copy of the warehouse": _copied(pipeline),
    }


def _copied(pipeline: Pipeline) -> str:
    """A copy of the warehouse as it is now: what a closed month shows are versions known when it was closed, and those
    cannot be read from HubSpot again. So `restore` finds the closing together with what it locks."""
    try:
        taken = snapshots.take(pipeline.warehouse, pipeline.clock.now(), timedelta(0))
    except WarehouseDamaged:
        raise
    except (Terminal, OSError) as error:
        return f"none was taken, the next run tries again: {error}"
    return taken.name if taken is not None else "as it was"


def parse_month(text: str) -> date:
    """The first day of `YYYY-MM`.

    Raises:
        ConfigurationError: for anything else.
    """
    try:
        month = datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no zone
    except ValueError:
        month = None
    if month is None or not 1970 <= month.year < 3000:
        raise ConfigurationError(f"month {text!r} is none: write it as 2026-03")
    return month


def _refuse_broken(session: Session, month: date) -> None:
    tested = run_tests(session.connection, TESTS, limit=0)
    broken = [f"{one.test.model} {one.test.name}" for one in tested if not one.passed]
    if broken_conservation(session):
        broken.append("attribution.credit credit_is_conserved")
    if broken:
        raise ConfigurationError(
            f"{month:%Y-%m} is not closed, {len(broken)} checks fail: {'; '.join(broken)}. Run the newest hour"
            " again; if they fail there too, correct their cause"
        )


def _affected() -> list[SqlModel]:
    """The models that read finance.period, directly or through others, in their order."""
    found: dict[str, SqlModel] = {}
    for model in MODELS:
        if {periods.PERIOD, *found} & set(model.depends):
            found[model.key] = model
    return list(found.values())


def _op(name: str, change: Change, text: str) -> dg.OpDefinition:
    @dg.op(name=name.removesuffix("_month"), description=text)
    def op(context: dg.OpExecutionContext, config: MonthChange, pipeline: PipelineParam) -> None:
        with acting_on_errors():
            figures = change_month(pipeline, change, config)
        for figure, value in figures.items():
            pipeline.say(f"{name}: {figure}: {value}")
        context.add_output_metadata(figures)

    return op


def _job(name: str, change: Change, text: str) -> dg.JobDefinition:
    op = _op(name, change, text)

    @dg.job(name=name, executor_def=dg.in_process_executor, description=text)
    def job() -> None:
        op()

    return job


close_month = _job(
    CLOSE,
    periods.close,
    "Closes a month and all before it: their published figures never move again, what changes later is posted to the"
    " first open month. Refuses a month that is not over, or whose checks fail.",
)
reopen_month = _job(
    REOPEN, periods.reopen, "Reopens a month and all after it: what changes from now on is posted to it again."
)
