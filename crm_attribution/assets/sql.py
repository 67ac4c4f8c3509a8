"""staging/* and marts/*: one asset per SQL file, its tests as blocking checks; then the file finance reads."""

from pathlib import Path

import dagster as dg

from crm_attribution.assets.common import (
    BACKFILL,
    HOURLY,
    OWNERS,
    RETRY,
    PipelineParam,
    Result,
    acting_on_errors,
    key_of,
    window,
)
from crm_attribution.steps.guards import watermark
from crm_attribution.warehouse.publish import publish
from crm_attribution.warehouse.sql_models import SqlModel, SqlTest, TestResult, discover, materialize, order, run_test

FOLDERS = (Path(__file__).parents[1] / "dbt_like_sql", Path(__file__).parents[2] / "dbt_like_sql")
"""In a wheel beside the modules, in a checkout beside the package."""

MODELS = order(discover(next(folder for folder in FOLDERS if folder.is_dir())))
LAWS: list[SqlTest] = [test for model in MODELS if model.schema == "marts" for test in model.tests]
PUBLICATION = "finance.publication"
COLUMNS = "columns_hold"


def sql_asset(model: SqlModel) -> dg.AssetsDefinition:
    """The asset of a SQL file. Every law file is a check of its own; the header's column rules are one together:
    Dagster's bookkeeping takes some 20 ms a check and run, more than the query."""
    laws = [test for test in model.tests if test.path != model.path]
    simple = [test for test in model.tests if test.path == model.path]

    @dg.multi_asset(
        name=f"{model.schema}__{model.name}",
        specs=[
            dg.AssetSpec(
                key=key_of(model.key),
                deps=[key_of(name) for name in model.depends],
                description=model.description,
                group_name=model.schema,
                kinds={"sql", "duckdb"},
                owners=OWNERS,
                partitions_def=HOURLY,
                metadata={
                    "dagster/table_name": model.key,
                    "dagster/column_schema": dg.TableSchema(
                        [dg.TableColumn(column.name, description=column.description) for column in model.columns]
                    ),
                },
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                COLUMNS, asset=key_of(model.key), blocking=True, description="; ".join(test.name for test in simple)
            ),
            *(
                dg.AssetCheckSpec(test.name, asset=key_of(model.key), blocking=True, description=test.description)
                for test in laws
            ),
        ],
        backfill_policy=BACKFILL,
        retry_policy=RETRY,
    )
    def asset(pipeline: PipelineParam) -> Result:
        with acting_on_errors(), pipeline.warehouse.session() as session:
            outcome = materialize(session.connection, model)
            columns = [run_test(session.connection, test) for test in simple]
            told = [run_test(session.connection, test) for test in laws]
        pipeline.say(f"{model.key}: {outcome.rows} rows, {outcome.changed_rows} changed")
        described = {column.name: column.description for column in model.columns}
        return dg.MaterializeResult(
            asset_key=key_of(model.key),
            metadata={
                "dagster/row_count": outcome.rows,
                "changed rows": outcome.changed_rows,
                "dagster/column_schema": dg.TableSchema(
                    [dg.TableColumn(name, kind, described.get(name)) for name, kind in outcome.columns]
                ),
            },
            check_results=[_check(model, COLUMNS, columns), *(_check(model, law.test.name, [law]) for law in told)],
        )

    return asset


def _check(model: SqlModel, name: str, tests: list[TestResult]) -> dg.AssetCheckResult:
    failed = [test for test in tests if not test.passed]
    lines = [f"- {test.test.name}: `{row}`" for test in failed for row in test.sample[:5]]
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key_of(model.key),
        passed=not failed,
        metadata={
            "tests": len(tests),
            "bad rows": sum(test.bad_rows for test in failed),
            "sample": dg.MetadataValue.md("\n".join(lines) or "none"),
        },
    )


@dg.asset(
    key=key_of(PUBLICATION),
    deps=[key_of(model.key) for model in MODELS if model.schema == "marts"],
    group_name="finance",
    kinds={"duckdb"},
    owners=["team:finance", *OWNERS],
    description="data/finance.duckdb, the copy of the marts that finance opens: every law of the marts is checked, "
    "then the file is replaced in one step. Readers keep their snapshot; an unchanged hour copies nothing.",
    partitions_def=HOURLY,
    backfill_policy=BACKFILL,
    retry_policy=RETRY,
)
def publication(context: dg.AssetExecutionContext, pipeline: PipelineParam) -> Result:
    with acting_on_errors(), pipeline.warehouse.session() as session:
        as_of = watermark(session, window(context).end)
        session.compact_journal()
        done = publish(
            session.connection,
            marts_path=pipeline.warehouse.marts_path,
            target=pipeline.warehouse.finance_path,
            as_of=as_of,
            tests=LAWS,
            now=pipeline.clock.now(),
        )
    pipeline.say(f"{PUBLICATION}: {'published' if done.published else 'unchanged'} ({done.reason})")
    return dg.MaterializeResult(
        metadata={
            "published": done.published,
            "reason": done.reason,
            "snapshot": done.snapshot_id,
            "as of": as_of.isoformat(),
            "bytes": done.bytes,
            "laws checked": done.laws,
            "rows": dg.MetadataValue.json(dict(done.rows)),
        }
    )


assets = [*(sql_asset(model) for model in MODELS), publication]
