"""raw/*: what HubSpot and the click sources say changed."""

from collections.abc import Callable

import dagster as dg

from crm_attribution.assets.common import (
    BACKFILL,
    RETRY,
    PipelineParam,
    Result,
    Window,
    acting_on_errors,
    result,
    spec,
    table_checks,
    window,
)
from crm_attribution.resources import Pipeline
from crm_attribution.steps import inbox
from crm_attribution.steps import report as reports
from crm_attribution.steps.guards import check_first_load, check_portal
from crm_attribution.steps.report import Report

Read = Callable[[Pipeline, Window], Report]


def extraction(name: str, deps: list[str], read: Read) -> dg.AssetsDefinition:
    """An asset that reads one stream of a source into `name`."""

    @dg.multi_asset(
        name=name.replace(".", "__"),
        specs=[spec(name, deps, kinds=["hubspot" if "click" not in name else "api", "duckdb"])],
        check_specs=table_checks(name),
        backfill_policy=BACKFILL,
        retry_policy=RETRY,
    )
    def asset(context: dg.AssetExecutionContext, pipeline: PipelineParam) -> Result:
        with acting_on_errors():
            report = read(pipeline, window(context))
            with pipeline.warehouse.session() as session:
                return result(pipeline, name, reports.with_table_rows(session, name, report))

    return asset


def _account(pipeline: Pipeline, hours: Window) -> Report:
    extractor, hub_id = pipeline.extractor, pipeline.credential.hub_id
    with pipeline.warehouse.session() as session:
        check_first_load(session, pipeline.settings.start, hours.since)
        if hub_id is not None and session.fact("portal_id") is not None:
            check_portal(session, hub_id)
    report = extractor.account()
    pipeline.learn_time_zone()
    report.facts |= pipeline.credential.facts() | pipeline.hubspot_limits.facts()
    return report


def _objects(object_type: str) -> Read:
    return lambda pipeline, hours: pipeline.extractor.objects(object_type, hours.since)


def _clicks(pipeline: Pipeline, hours: Window) -> Report:
    return pipeline.extractor.clicks(pipeline.click_api, hours.since, pipeline.settings.inbox)


def _webhooks(pipeline: Pipeline, _: Window) -> Report:
    return inbox.load(pipeline.warehouse, pipeline.clock, pipeline.settings.inbox)


def written_beside(name: str, deps: list[str]) -> dg.AssetsDefinition:
    """An asset for a table that others write in their own transaction: it only checks and counts, the whole table."""

    @dg.multi_asset(
        name=name.replace(".", "__"),
        specs=[spec(name, deps, kinds=["duckdb"], hourly=False)],
        check_specs=table_checks(name),
    )
    def asset(pipeline: PipelineParam) -> Result:
        with pipeline.warehouse.session() as session:
            return result(pipeline, name, reports.count(session, name))

    return asset


_RECORDS = ["raw.contact", "raw.company", "raw.deal"]

assets = [
    extraction("raw.account", [], _account),
    extraction("raw.owner", ["raw.account"], lambda pipeline, _: pipeline.extractor.owners()),
    extraction("raw.pipeline_stage", ["raw.account"], lambda pipeline, _: pipeline.extractor.stages()),
    extraction("raw.form", ["raw.account"], lambda pipeline, _: pipeline.extractor.forms()),
    extraction("raw.webhook_event", ["raw.account"], _webhooks),
    extraction("raw.company", ["raw.account", "raw.webhook_event"], _objects("companies")),
    extraction("raw.contact", ["raw.account", "raw.webhook_event"], _objects("contacts")),
    extraction("raw.deal", ["raw.account", "raw.webhook_event"], _objects("deals")),
    extraction(
        "raw.form_submission", ["raw.form"], lambda pipeline, hours: pipeline.extractor.submissions(hours.since)
    ),
    extraction("raw.link_click", ["raw.account"], _clicks),
    written_beside("raw.property_history", _RECORDS),
    written_beside("raw.association", ["raw.contact", "raw.deal"]),
    written_beside("raw.merge", _RECORDS),
    written_beside("raw.deletion", _RECORDS),
]
