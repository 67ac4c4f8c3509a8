"""identity/*, events/* and attribution/*: an asset per table of each layer (`crm_attribution/layers.py`)."""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from crm_attribution.finance.periods import PERIOD
from crm_attribution.layers import CREDITS, FIGURES, GAPS, IDENTITY, LAYERS, MILESTONES, Layer, run
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
    written_beside,
)
from crm_attribution.warehouse import report as reports
from crm_attribution.warehouse.checks import broken_conservation, open_gaps, suspicious_domains, unmapped_pipelines
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
            "fix": "name them under deals.pipelines in the mapping file: new, expansion, renewal, churn or ignore",
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

DOMAINS = dg.AssetCheckSpec(
    "domains_are_organisations",
    asset=key_of("identity.account"),
    description="No account is the domain of a mail or hosting provider: one without a company, with many people who do"
    " not name one and the same.",
)


def _domains_are_organisations(session: Session, rules: Rules) -> dg.AssetCheckResult:
    ours = rules.accounts
    found = suspicious_domains(session, ours.suspicious_people, ours.trusted_domains)
    lines = [
        f"- {domain}: {people} people, {named} say where they work, at {companies} companies"
        for domain, people, named, companies in found.head(20).rows()
    ]
    return dg.AssetCheckResult(
        check_name="domains_are_organisations",
        asset_key=key_of("identity.account"),
        passed=found.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "domains": dg.MetadataValue.md("\n".join(lines) or "none"),
            "fix": "a provider belongs into accounts.more_free_mail_domains of the mapping, an organisation into"
            " accounts.trusted_domains, or give it a company in HubSpot",
        },
    )


_CLOSED = {
    "stages_known": ("stage_unknown", "Every stage that deals were in is in HubSpot's list, or named in the mapping."),
    "stages_agree": ("stage_disagrees", "The mapping calls no stage won, lost or open that HubSpot calls otherwise."),
    "deals_readable": ("deal_refused", "The newest version of every deal could be read."),
    "rates_known": ("rate_missing", "Every amount in another currency has a rate to the account's home currency."),
}
"""Check -> kind of gap that fails it, and what it checks."""


def _gap_check(name: str) -> tuple[dg.AssetCheckSpec, Judge]:
    gap, text = _CLOSED[name]

    def judge(session: Session, _: Rules) -> dg.AssetCheckResult:
        found = open_gaps(session, gap)
        return dg.AssetCheckResult(
            check_name=name,
            asset_key=key_of("events.gap"),
            passed=not found,
            metadata={"open": len(found), "sample": ", ".join(found[:20]) or "none", "fix": "see marts.known_gaps"},
        )

    return dg.AssetCheckSpec(name, asset=key_of("events.gap"), description=text), judge


CHECKS: dict[str, Sequence[tuple[dg.AssetCheckSpec, Judge]]] = {
    IDENTITY.name: [(DOMAINS, _domains_are_organisations)],
    MILESTONES.name: [(PIPELINES_MAPPED, _pipelines_mapped)],
    CREDITS.name: [(CONSERVED, _conserved)],
    GAPS.name: [_gap_check(name) for name in _CLOSED],
}

assets = [
    *(derived(layer, CHECKS.get(layer.name, ())) for layer in LAYERS),
    written_beside(PERIOD, list(FIGURES.writes)),
]
