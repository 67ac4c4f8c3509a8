"""identity/*, events/* and attribution/*: an asset per table of each layer (`crm_attribution/layers.py`)."""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from crm_attribution.layers import CREDITS, LAYERS, MILESTONES, Layer, run
from crm_attribution.mapping import Rules
from crm_attribution.orchestration.assets.common import (
    BACKFILL,
    PipelineParam,
    Result,
    acting_on_errors,
    key_of,
    result,
    run_table_checks,
    spec,
    table_checks,
    window,
)
from crm_attribution.warehouse import report as reports
from crm_attribution.warehouse.checks import broken_conservation, unmapped_pipelines
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import advance_watermark

Judge = Callable[[Session, Rules], dg.AssetCheckResult]


def derived(layer: Layer, more: Sequence[tuple[dg.AssetCheckSpec, Judge]] = ()) -> dg.AssetsDefinition:
    """An asset per table that a layer writes in one transaction. The first table's metadata has the layer's figures."""

    @dg.multi_asset(
        name=layer.writes[0].replace(".", "__"),
        specs=[spec(table, layer.reads) for table in layer.writes],
        check_specs=[*table_checks(*layer.writes), *(spec for spec, _ in more)],
        backfill_policy=BACKFILL,
    )
    def asset(context: dg.AssetExecutionContext, pipeline: PipelineParam) -> Iterator[Result]:
        first, *rest = layer.writes
        with acting_on_errors(), pipeline.warehouse.session() as session:
            as_of = advance_watermark(session.state, window(context).end)
            report = run(layer, session, pipeline.rules, as_of)
            counts = {table: reports.count(session, table) for table in rest}
            judged = [judge(session, pipeline.rules) for _, judge in more]
            checks = [*run_table_checks(session, *layer.writes), *judged]
        yield result(pipeline, first, report, checks)
        for table in rest:
            yield result(pipeline, table, counts[table], [])

    return asset


def _conserved(session: Session, _: Rules) -> dg.AssetCheckResult:
    broken = broken_conservation(session)
    return dg.AssetCheckResult(
        check_name="credit_is_conserved",
        asset_key=key_of("attribution.credit"),
        passed=broken == 0,
        metadata={"outcome x model x measure that do not add up": broken},
    )


def _pipelines_mapped(session: Session, rules: Rules) -> dg.AssetCheckResult:
    unmapped = unmapped_pipelines(session, list(rules.deals.pipelines))
    return dg.AssetCheckResult(
        check_name="pipelines_mapped",
        asset_key=key_of("events.milestone"),
        passed=not unmapped,
        metadata={
            "pipelines without a kind": ", ".join(unmapped) or "none",
            "fix": "name them under deals.pipelines in the mapping file: new, expansion, renewal or ignore",
        },
    )


CONSERVED = dg.AssetCheckSpec(
    "credit_is_conserved",
    asset=key_of("attribution.credit"),
    blocking=True,
    description="Credits of each outcome, model and measure add up to the outcome exactly.",
)
PIPELINES_MAPPED = dg.AssetCheckSpec(
    "pipelines_mapped",
    asset=key_of("events.milestone"),
    description="Every pipeline with deals has a kind; deals of the others make no milestones.",
)

CHECKS: dict[str, Sequence[tuple[dg.AssetCheckSpec, Judge]]] = {
    MILESTONES.name: [(PIPELINES_MAPPED, _pipelines_mapped)],
    CREDITS.name: [(CONSERVED, _conserved)],
}

assets = [derived(layer, CHECKS.get(layer.name, ())) for layer in LAYERS]
