"""finance/report: the HTML report of the published file, with its business figures and pictures in Dagster."""

import base64

import dagster as dg

from crm_attribution.orchestration import catalog
from crm_attribution.orchestration.assets.common import PipelineParam, Result, acting_on_errors, key_of
from crm_attribution.orchestration.assets.sql import PUBLICATION
from crm_attribution.report.build import PLACE, Built, build
from crm_attribution.report.page import figure
from crm_attribution.settings import PUBLISHED_MODE

REPORT = "finance.report"


@dg.asset(
    key=key_of(REPORT),
    deps=[key_of(PUBLICATION)],
    group_name=catalog.group(REPORT),
    kinds={"html"},
    owners=catalog.owners(REPORT),
    freshness_policy=catalog.freshness(REPORT, hourly=False),
    description="reports/attribution.html in the data directory (`file` in the metadata): one page to forward, without"
    " a network. Revenue and pipeline by channel and model, funnel, spend, ARR bridge, the largest wins and their"
    " touches, what has changed, reconciliation, known gaps. Every figure is a row of finance.duckdb, with the query"
    " beside it. Written where the published file changed.",
)
def report(pipeline: PipelineParam) -> Result:
    target = pipeline.warehouse.directory / PLACE
    with acting_on_errors():
        built = build(pipeline.warehouse.finance_path, target, mode=pipeline.settings[PUBLISHED_MODE])
    pipeline.say(f"{REPORT}: {'written' if built.written else 'unchanged'}")
    return dg.MaterializeResult(
        metadata={
            "file": dg.MetadataValue.path(target),
            "written": built.written,
            "snapshot": built.snapshot_id,
            "bytes": built.bytes,
            "figures": dg.MetadataValue.md(_figures(built)),
            **{f"chart: {name}": dg.MetadataValue.md(_picture(svg)) for name, svg in built.charts.items()},
        }
    )


def _figures(built: Built) -> str:
    rows = (f"| {label} | {figure(value)} {unit or ''} |" for label, value, unit in built.cards.iter_rows())
    return "\n".join(["| figure | |", "| --- | ---: |", *rows])


def _picture(svg: str) -> str:
    return f"![chart](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
