"""identity/*, events/* and attribution/*: derived from what changed, each by one step."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import dagster as dg

from crm_attribution.attribution import credits, touches
from crm_attribution.events import events, milestones
from crm_attribution.identity import clicks
from crm_attribution.identity import update as identity
from crm_attribution.mapping import Rules
from crm_attribution.orchestration.assets.common import (
    BACKFILL,
    RETRY,
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
from crm_attribution.orchestration.resources import Pipeline
from crm_attribution.warehouse import report as reports
from crm_attribution.warehouse.checks import broken_conservation, unmapped_pipelines
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import watermark

Step = Callable[[Session, Rules, datetime], Report]
Law = Callable[[Pipeline], dg.AssetCheckResult]


def derived(
    name: str,
    tables: Sequence[str],
    deps: Sequence[str],
    step: Step,
    laws: Sequence[tuple[dg.AssetCheckSpec, Law]] = (),
) -> dg.AssetsDefinition:
    """An asset per table that one step writes in one transaction. The first table's metadata has the step's figures."""

    @dg.multi_asset(
        name=name,
        specs=[spec(table, deps) for table in tables],
        check_specs=[*table_checks(*tables), *(law for law, _ in laws)],
        backfill_policy=BACKFILL,
        retry_policy=RETRY,
    )
    def asset(context: dg.AssetExecutionContext, pipeline: PipelineParam) -> Iterator[Result]:
        with acting_on_errors(), pipeline.warehouse.session() as session:
            report = step(session, pipeline.rules, watermark(session, window(context).end))
            counts = {table: reports.count(session, table) for table in tables[1:]}
            checks = [*run_table_checks(pipeline, *tables), *(law(pipeline) for _, law in laws)]
        for table in tables:
            yield result(pipeline, table, counts.get(table, report), checks if table == tables[0] else [])

    return asset


def _conserved(pipeline: Pipeline) -> dg.AssetCheckResult:
    with pipeline.warehouse.session() as session:
        broken = broken_conservation(session)
    return dg.AssetCheckResult(
        check_name="credit_is_conserved",
        asset_key=key_of("attribution.credit"),
        passed=broken == 0,
        metadata={"outcome x model x measure that do not add up": broken},
    )


def _pipelines_mapped(pipeline: Pipeline) -> dg.AssetCheckResult:
    with pipeline.warehouse.session() as session:
        unmapped = unmapped_pipelines(session, list(pipeline.rules.deals.pipelines))
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

_RECORDS = ["raw.contact", "raw.company", "raw.deal", "raw.property_history", "raw.association", "raw.merge"]

assets = [
    derived(
        "identity__persons",
        [
            "identity.person",
            "identity.alias",
            "identity.node",
            "identity.edge",
            "identity.edge_rejected",
            "identity.person_change",
            "identity.account",
            "identity.account_alias",
            "identity.membership",
            "identity.deal_account",
        ],
        [*_RECORDS, "raw.link_click", "raw.form_submission"],
        identity.update,
    ),
    derived(
        "identity__clicks",
        ["identity.click", "identity.email_click"],
        ["identity.alias", "identity.edge", "raw.link_click", "raw.email_click", "raw.form_submission"],
        clicks.update,
    ),
    derived(
        "events__events",
        ["events.event"],
        [
            "identity.alias",
            "identity.membership",
            "identity.account",
            "identity.deal_account",
            "raw.pipeline_stage",
            "raw.account",
            *_RECORDS,
        ],
        lambda session, rules, _: events.update(session, rules),
    ),
    derived(
        "events__milestones",
        ["events.milestone"],
        ["events.event", "identity.membership", "identity.deal_account", "raw.deal", "raw.association"],
        lambda session, rules, _: milestones.update(session, rules),
        [(PIPELINES_MAPPED, _pipelines_mapped)],
    ),
    derived(
        "attribution__touches",
        ["attribution.touch"],
        [
            "identity.click",
            "identity.email_click",
            "identity.alias",
            "identity.edge",
            "identity.membership",
            "identity.account",
            "identity.account_alias",
            "raw.link_click",
            "raw.email_click",
            "raw.form_submission",
        ],
        lambda session, rules, _: touches.update_touches(session, rules),
    ),
    derived(
        "attribution__credits",
        ["attribution.credit"],
        ["attribution.touch", "events.milestone", "raw.contact"],
        credits.update_credits,
        [(CONSERVED, _conserved)],
    ),
]
