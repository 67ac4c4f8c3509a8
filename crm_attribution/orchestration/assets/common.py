"""What all assets share: partitions, policies, specs from contracts, the window, and how results are reported."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from crm_attribution import configuration, stopping
from crm_attribution.clock import WallClock
from crm_attribution.contracts import CONTRACTS, Contract
from crm_attribution.errors import CrmAttributionError, Retryable, Terminal, machine_trouble
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.orchestration import catalog
from crm_attribution.orchestration.hours import hourly
from crm_attribution.orchestration.resources import Pipeline
from crm_attribution.redaction import redact
from crm_attribution.sources import sources
from crm_attribution.warehouse import report as reports
from crm_attribution.warehouse.checks import duplicate_keys, open_quarantine
from crm_attribution.warehouse.report import CHANGED, ROWS, Report
from crm_attribution.warehouse.session import Session

START = configuration.load().start
HOURLY = hourly(START, WallClock())
BACKFILL = dg.BackfillPolicy.single_run()
RETRIES = 2
_FIRST_WAIT, _LONGEST_WAIT = 10.0, 300.0
"""Seconds before a step is tried again."""

if TYPE_CHECKING:
    Result = dg.MaterializeResult[Any]
else:
    Result = dg.MaterializeResult  # Dagster knows the bare class only
PipelineParam = dg.ResourceParam[Pipeline]


@dataclass(frozen=True)
class Window:
    """The hours of a run.

    Attributes:
        since: lower bound; None where the first partition is among them: it reaches back to the beginning.
        end: end of the last hour, exclusive.
    """

    since: datetime | None
    end: datetime


def window(context: dg.AssetExecutionContext) -> Window:
    """The run's window; the whole range in a single-run backfill."""
    span = context.partition_time_window
    return Window(None if span.start <= START else span.start, span.end)


def key_of(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("."))


def column_schema(contract: Contract) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.duckdb_type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, other=list(column.checks)),
            )
            for column in contract.columns
        ]
    )


def newest(name: str) -> dg.AssetDep:
    """What an unpartitioned asset needs of an hourly one: its newest hour. (All hours, Dagster's default, are listed
    again for every dependency and run.)"""
    return dg.AssetDep(key_of(name), partition_mapping=dg.LastPartitionMapping())


def spec(
    name: str, deps: Sequence[str], *, kinds: Sequence[str] = ("duckdb", "polars"), hourly: bool = True
) -> dg.AssetSpec:
    """The asset of a contract's table."""
    contract = CONTRACTS[name]
    return dg.AssetSpec(
        key=key_of(name),
        deps=[key_of(dep) if hourly else newest(dep) for dep in deps],
        description=contract.description,
        group_name=catalog.group(name),
        kinds=set(kinds),
        owners=catalog.owners(name),
        partitions_def=HOURLY if hourly else None,
        freshness_policy=catalog.freshness(name, hourly=hourly),
        metadata={"dagster/column_schema": column_schema(contract), "dagster/table_name": name},
    )


REFUSING = {
    *(described.table for described in OBJECT_TYPES.values()),
    *("raw.form_submission", "raw.webhook_event"),
    *(source.table for source in sources().values()),
}
"""Tables whose rows come from people's typing or from outside: a bad one goes to quarantine."""


def table_checks(name: str, *more: str) -> list[dg.AssetCheckSpec]:
    """The key of the table, and of those written with it, is unique; tables fed from outside show refused rows."""
    checks = [
        dg.AssetCheckSpec(
            "keys_are_unique",
            asset=key_of(name),
            blocking=True,
            description=f"No two rows share a key in {', '.join([name, *more])}.",
        )
    ]
    if name in REFUSING:
        checks.append(
            dg.AssetCheckSpec(
                "nothing_in_quarantine",
                asset=key_of(name),
                description="Refused rows wait in quarantine with their reasons; the good rows were processed.",
            )
        )
    return checks


def run_table_checks(session: Session, name: str, *more: str) -> list[dg.AssetCheckResult]:
    """Results for `table_checks`."""
    doubles = {table: duplicate_keys(session, table) for table in (name, *more)}
    refused = open_quarantine(session, name) if name in REFUSING else None
    results = [
        dg.AssetCheckResult(
            check_name="keys_are_unique",
            asset_key=key_of(name),
            passed=not any(doubles.values()),
            metadata={f"duplicate keys in {table}": count for table, count in doubles.items()},
        )
    ]
    if refused is not None:
        lines = [f"- {count} x `{reason}` (e.g. {key})" for reason, count, key in refused]
        results.append(
            dg.AssetCheckResult(
                check_name="nothing_in_quarantine",
                asset_key=key_of(name),
                passed=not refused,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "refused rows": sum(count for _, count, _ in refused),
                    "sample": dg.MetadataValue.md("\n".join(lines) or "nothing refused"),
                },
            )
        )
    return results


def result(
    pipeline: Pipeline,
    name: str,
    report: Report,
    checks: Sequence[dg.AssetCheckResult],
    *,
    whole: Report | None = None,
) -> Result:
    """What an asset hands to Dagster: row counts, figures, and the table's checks. Where a report is of a window,
    `whole` counts the table."""
    rows = report.rows if whole is None else whole.rows
    window = {} if whole is None else {"dagster/partition_row_count": report.rows}
    pipeline.say(f"{name}: {rows} rows, {report.changed} changed")
    return dg.MaterializeResult(
        asset_key=key_of(name),
        metadata={ROWS: rows, CHANGED: report.changed, **window, **report.shown()},
        check_results=checks,
    )


class UnexpectedError(Exception):
    """A defect of ours, with what it may have quoted of a person or a secret taken out. It may be tried again."""


@contextmanager
def acting_on_errors() -> Iterator[None]:
    """Errors by what to do next: a terminal one fails the step immediately, with its message; others may be retried.

    Assets have no retry policy: Dagster would apply it to a stop too, and go on to success.
    """
    wait = _FIRST_WAIT
    failure: Exception | None = None
    try:
        with _stops():
            yield
    except dg.DagsterExecutionInterruptedError:
        raise
    except Terminal as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except Retryable as error:
        wait, failure = error.retry_after or wait, error
    except (CrmAttributionError, dg.DagsterError, dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        if (trouble := machine_trouble(error)) is not None:
            raise dg.Failure(description=trouble, allow_retries=False) from None
        # A defect, and its text may quote a row: DuckDB and Polars name the value they could not convert.
        text = redact(f"{type(error).__name__}: {error}", configuration.load().secrets())
        failure = UnexpectedError(text).with_traceback(error.__traceback__)
    if failure is not None:
        _pause(min(wait, _LONGEST_WAIT), failure)
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=0) from failure


@contextmanager
def _stops() -> Iterator[None]:
    """A stop ends the run, also where a library made another error of it: Dagster would only fail the step, and go on
    with those that do not need it."""
    try:
        yield
    except BaseException as error:
        if not stopping.is_stop(error):
            raise
        dg.get_dagster_logger().warning(stopping.line())
        if isinstance(error, KeyboardInterrupt | dg.DagsterExecutionInterruptedError):
            raise
        raise dg.DagsterExecutionInterruptedError from None


def _pause(seconds: float, failure: Exception) -> None:
    """Wait before a retry, inside the step: there a stop ends the waiting."""
    try:
        attempt = dg.OpExecutionContext.get().retry_number
    except dg.DagsterError:
        return  # not in a step
    if attempt < RETRIES:
        dg.get_dagster_logger().warning(f"trying again in {seconds:.0f} s: {failure}")
        time.sleep(seconds)


def written_beside(name: str, deps: list[str]) -> dg.AssetsDefinition:
    """An asset for a table that others write in their own transaction: it only checks and counts, the whole table."""

    @dg.multi_asset(
        name=name.replace(".", "__"),
        specs=[spec(name, deps, kinds=["duckdb"], hourly=False)],
        check_specs=table_checks(name),
    )
    def asset(pipeline: PipelineParam) -> Result:
        with acting_on_errors(), pipeline.warehouse.session() as session:
            rows = reports.count(session, name).rows
            pipeline.say(f"{name}: {rows} rows")
            return dg.MaterializeResult(
                asset_key=key_of(name), metadata={ROWS: rows}, check_results=run_table_checks(session, name)
            )

    return asset
