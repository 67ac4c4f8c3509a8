"""staging/* and marts/*: one asset per SQL file, its tests as blocking checks; then the file finance reads."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from crm_attribution.clock import iso
from crm_attribution.contracts import CONTRACTS
from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.about import origin
from crm_attribution.marts.current import Models
from crm_attribution.marts.lineage import Traced
from crm_attribution.marts.models import SqlModel, SqlTest, TestResult, discover, order
from crm_attribution.marts.publish import Publication, publish
from crm_attribution.orchestration import catalog
from crm_attribution.orchestration.assets import shown
from crm_attribution.orchestration.assets.common import (
    PipelineParam,
    Result,
    acting_on_errors,
    key_of,
    newest,
)
from crm_attribution.orchestration.resources import Pipeline
from crm_attribution.settings import PUBLISHED_DAYS, PUBLISHED_MODE
from crm_attribution.warehouse.report import CHANGED, ROWS
from crm_attribution.warehouse.schema import QUARANTINE_COLUMNS
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import newest_hour_end

FOLDERS = tuple(Path(__file__).parents[level] / "dbt_like_sql" for level in (2, 3))
"""In a wheel next to the modules, in a checkout next to the package."""

MODELS = order(discover(next(folder for folder in FOLDERS if folder.is_dir())))
MARTS = [model for model in MODELS if model.schema == "marts"]
TESTS: list[SqlTest] = [test for model in MARTS for test in model.tests]
SCHEMAS = list(dict.fromkeys(model.schema for model in MODELS))
PUBLICATION = "finance.publication"
COLUMNS = "columns_hold"
TRACED = Path("dagster") / "column_lineage.json"
"""In the data directory."""
SKIPPED, VIEW, KEYS = "not run again", "view", "run for keys"


def tests_of(model: SqlModel) -> list[SqlTest]:
    """The model's own test files, each a separate check."""
    return [test for test in model.tests if test.path != model.path]


def column_rules_of(model: SqlModel) -> list[SqlTest]:
    """The rules of the header, one check together: Dagster's bookkeeping takes longer a check than the queries."""
    return [test for test in model.tests if test.path == model.path]


def _spec(model: SqlModel) -> dg.AssetSpec:
    columns = [dg.TableColumn(column.name, description=column.description) for column in model.columns]
    return dg.AssetSpec(
        key=key_of(model.key),
        deps=[newest(name) if name in CONTRACTS else key_of(name) for name in _assets_of(model)],
        description=model.description,
        group_name=catalog.group(model.key),
        kinds={"sql", "duckdb"},
        owners=catalog.owners(model.key, model.audience),
        skippable=True,
        freshness_policy=catalog.freshness(model.key, hourly=False),
        metadata={"dagster/table_name": model.key, "dagster/column_schema": dg.TableSchema(columns)},
    )


def _assets_of(model: SqlModel) -> list[str]:
    """The tables a model reads, as assets: what waits in quarantine comes with the rows of raw that do not."""
    return sorted({name.replace("quarantine.", "raw.", 1) for name in model.depends})


def _lineage(model: SqlModel, before: Traced) -> dict[str, dg.TableColumnLineage | str]:
    """The columns that each column of a model comes from, as Dagster shows them: with the materialization.

    See https://docs.dagster.io/guides/build/assets/metadata-and-tags/column-level-lineage. Traced when a model runs:
    loading the definitions does without.
    """
    known = {name: [column.name for column in contract.columns] for name, contract in CONTRACTS.items()}
    known |= {model.key: [column.name for column in model.columns] for model in MODELS}
    known |= {name: list(QUARANTINE_COLUMNS) for name in model.depends if name.startswith("quarantine.")}
    try:
        traced = before.lineage(model.key, model.sql, {name: known[name] for name in model.depends if name in known})
    except ConfigurationError as error:
        return {"column lineage": str(error)}  # a query DuckDB runs is right; only its picture is missing
    deps = {
        column: [
            dg.TableColumnDep(key_of(table), name)
            for table, name in sorted(sources)
            if not table.startswith("quarantine.")
        ]
        for column, sources in traced.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


def _check_specs(model: SqlModel) -> list[dg.AssetCheckSpec]:
    rules = "; ".join(test.name for test in column_rules_of(model))
    named = [(COLUMNS, rules), *((test.name, test.description) for test in tests_of(model))]
    return [dg.AssetCheckSpec(name, asset=key_of(model.key), blocking=True, description=text) for name, text in named]


def sql_assets(schema: str, models: Sequence[SqlModel]) -> dg.AssetsDefinition:
    """One asset per SQL file of a schema, run in the order of their dependencies; any part can be materialized alone.

    They are not partitioned: a file is run completely and holds the current state, for any hour of the run.
    """

    @dg.multi_asset(
        name=schema,
        specs=[_spec(model) for model in models],
        check_specs=[check for model in models for check in _check_specs(model)],
        can_subset=True,
    )
    def assets(context: dg.AssetExecutionContext, pipeline: PipelineParam) -> Iterator[Result]:
        with acting_on_errors(), pipeline.warehouse.session() as session:
            known, traced = Models(session, newest_hour_end(session.state)), Traced(pipeline.settings.data_dir / TRACED)
            for model in models:
                if key_of(model.key) in context.selected_asset_keys:
                    result = _standing(session, known, model, traced) or _materialize(session, known, model, traced)
                    pipeline.say(f"{model.key}: {figures(result)}")
                    yield result
                    if not all(check.passed for check in result.check_results or ()):
                        return  # downstream assets would read bad data; Dagster fails the step for the blocking check
            traced.keep()

    return assets


def _standing(session: Session, known: Models, model: SqlModel, traced: Traced) -> Result | None:
    """What a model's asset says where nothing it stands on has changed since it ran and its tests passed."""
    standing = known.standing(model)
    if standing is None:
        return None
    found = known.columns(model)
    why = "its tests ran in" if model.view else "nothing it reads has changed since"
    unchanged = {SKIPPED: f"{why} the hour that ended {iso(standing.ran)}"}
    names = [COLUMNS, *(test.name for test in tests_of(model))]
    return dg.MaterializeResult(
        asset_key=key_of(model.key),
        metadata={
            **unchanged,
            **_described(model, standing.rows, 0, found, traced),
            **shown.of_mart(session, model.key),
        },
        check_results=[
            dg.AssetCheckResult(check_name=name, asset_key=key_of(model.key), passed=True, metadata=unchanged)
            for name in names
        ],
    )


def _described(
    model: SqlModel, rows: int, changed: int, found: Sequence[tuple[str, str]], traced: Traced
) -> dict[str, Any]:
    described = {column.name: column.description for column in model.columns}
    columns = [dg.TableColumn(name, kind, described.get(name)) for name, kind in found]
    schema = {"dagster/column_schema": dg.TableSchema(columns)}
    counted = {VIEW: "holds no rows of its own"} if model.view else {ROWS: rows, CHANGED: changed}
    return {**counted, **schema, **_lineage(model, traced)}


def _materialize(session: Session, known: Models, model: SqlModel, traced: Traced) -> Result:
    outcome, tested = known.build(model)
    rules = [one for one in tested if one.test.path == model.path]
    results = [one for one in tested if one.test.path != model.path]
    if all(one.passed for one in tested):
        known.holds(model, outcome.rows)
    return dg.MaterializeResult(
        asset_key=key_of(model.key),
        metadata={
            **({} if outcome.keys is None else {KEYS: outcome.keys}),
            **_described(model, outcome.rows, outcome.changed_rows, outcome.columns, traced),
            **shown.of_mart(session, model.key),
        },
        check_results=[_check(model, COLUMNS, rules), *(_check(model, one.test.name, [one]) for one in results)],
    )


def figures(result: Result) -> str:
    """A materialization in few words."""
    facts = result.metadata or {}
    if VIEW in facts:
        return "a view"
    if SKIPPED in facts:
        return f"{facts[ROWS]} rows, not run again"
    return f"{facts[ROWS]} rows, {facts[CHANGED]} changed"


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


def publish_marts(pipeline: Pipeline, *, rewrite: bool = False) -> tuple[Publication, datetime]:
    """Publish the finance file; what was done, and as of when. With `rewrite` also where nothing changed.

    Tests of marts that have not run since they passed are not run again, but with `rewrite`.
    """
    now = pipeline.clock.now()
    with pipeline.warehouse.session() as session:
        as_of = newest_hour_end(session.state)
        known = Models(session, as_of)
        open_tests = [test for model in MARTS if known.standing(model) is None for test in model.tests]
        known.read_on(MODELS)
        session.journal.compact()
        done = publish(
            session.connection,
            marts_path=pipeline.warehouse.marts_path,
            target=pipeline.warehouse.finance_path,
            as_of=as_of,
            tests=TESTS if rewrite else open_tests,
            now=now,
            rewrite=rewrite,
            of=origin(session.connection, pipeline.rules.version),
            days=pipeline.settings[PUBLISHED_DAYS] or 0,
            mode=pipeline.settings[PUBLISHED_MODE],
            known=[model.name for model in MARTS],
        )
    if done.dropped:
        pipeline.say(f"{PUBLICATION}: dropped what no mart is: {', '.join(done.dropped)}")
    return done, as_of


@dg.asset(
    key=key_of(PUBLICATION),
    deps=[key_of(model.key) for model in MODELS if model.schema == "marts"],
    group_name=catalog.group(PUBLICATION),
    kinds={"duckdb"},
    owners=catalog.owners(PUBLICATION),
    freshness_policy=catalog.freshness(PUBLICATION, hourly=False),
    description="finance.duckdb in the data directory (`file` in the metadata), the copy of the marts for finance. "
    "Every data test of the marts must pass (those of an unchanged mart have passed), then the file is replaced in one "
    "step. Readers keep their snapshot; an "
    "unchanged hour copies nothing. The folder finance has the same tables as Parquet, and the files of days before. "
    "The publication adds marts.about (what the file is) and marts.data_dictionary.",
)
def publication(pipeline: PipelineParam) -> Result:
    with acting_on_errors():
        done, as_of = publish_marts(pipeline)
    pipeline.say(f"{PUBLICATION}: {'published' if done.published else 'unchanged'} ({done.reason})")
    return dg.MaterializeResult(
        metadata={
            "file": dg.MetadataValue.path(pipeline.warehouse.finance_path),
            "published": done.published,
            "reason": done.reason,
            "snapshot": done.snapshot_id,
            "as of": iso(as_of),
            "bytes": done.bytes,
            "data tests": len(TESTS),
            "data tests run here": done.tests,
            "tables dropped": ", ".join(done.dropped) or "none",
            "rows": dg.MetadataValue.json(dict(done.rows)),
        }
    )


assets = [
    *(sql_assets(schema, [model for model in MODELS if model.schema == schema]) for schema in SCHEMAS),
    publication,
]
