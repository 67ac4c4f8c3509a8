"""raw/*: what changed in HubSpot and the click sources."""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from crm_attribution.findings import worst
from crm_attribution.hubspot import campaigns
from crm_attribution.hubspot.objects import OBJECT_TYPES, ObjectType
from crm_attribution.hubspot.refreshes import ALARM_PERCENT, DAYS, FILE
from crm_attribution.orchestration import in_force
from crm_attribution.orchestration.assets.common import (
    BACKFILL,
    PipelineParam,
    Result,
    Window,
    acting_on_errors,
    key_of,
    result,
    run_table_checks,
    spec,
    table_checks,
    window,
    written_beside,
)
from crm_attribution.orchestration.budget import check_run
from crm_attribution.orchestration.resources import Pipeline
from crm_attribution.preflight import machine
from crm_attribution.raw import closed_won
from crm_attribution.raw import webhooks as inbox
from crm_attribution.raw.reading import StreamReport
from crm_attribution.sources import sources
from crm_attribution.sources.base import Source
from crm_attribution.warehouse import report as reports
from crm_attribution.warehouse.state import check_first_load, check_portal

Read = Callable[[Pipeline, Window], StreamReport]


Check = tuple[dg.AssetCheckSpec, Callable[[StreamReport], dg.AssetCheckResult]]


def extraction(
    name: str, deps: list[str], read: Read, checked: Sequence[Check] = (), kind: str = "hubspot"
) -> dg.AssetsDefinition:
    """An asset that reads one stream of a source into `name`; `checked` are checks of its report."""

    @dg.multi_asset(
        name=name.replace(".", "__"),
        specs=[spec(name, deps, kinds=[kind, "duckdb"])],
        check_specs=[*table_checks(name), *(spec for spec, _ in checked)],
        backfill_policy=BACKFILL,
    )
    def asset(context: dg.AssetExecutionContext, pipeline: PipelineParam) -> Result:
        with acting_on_errors():
            report = read(pipeline, window(context))
            with pipeline.warehouse.session() as session:
                checks = [*run_table_checks(session, name), *(judge(report) for _, judge in checked)]
                return result(pipeline, name, report, checks, whole=reports.count(session, name))

    return asset


def _is_read(name: str, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR) -> Check:
    """A stream that may be refused: the check fails with the reason, and the hour continues with what is stored."""
    check = dg.AssetCheckSpec(
        "is_read", asset=key_of(name), description="HubSpot lets us read this stream, or the mapping switches it off."
    )

    def judge(report: StreamReport) -> dg.AssetCheckResult:
        problem = report.not_read
        metadata = {} if problem is None else {"problem": problem}
        return dg.AssetCheckResult(
            check_name=check.name,
            asset_key=check.asset_key,
            passed=problem is None,
            severity=severity,
            metadata=metadata,
        )

    return check, judge


def _account(pipeline: Pipeline, hours: Window) -> StreamReport:
    readers, hub_id = pipeline.readers, pipeline.connections.credential.hub_id
    with pipeline.warehouse.session() as session:
        check_first_load(session.state, pipeline.settings.start, hours.since)
        if hub_id is not None and session.state.portal_id is not None:
            check_portal(session.state, hub_id)
    check_run(pipeline, hours.since, hours.end)
    report = readers.reference.account()
    pipeline.connections.learn_time_zone()
    report.figures |= pipeline.connections.credential.figures() | pipeline.connections.limits.figures()
    with pipeline.warehouse.session() as session:
        report.figures |= {"portal": str(session.state.portal_id), **in_force.shown(pipeline.settings, pipeline.rules)}
        ledger = machine.ledger_of(session, pipeline.ledger)
    report.refreshes = pipeline.connections.credential.recent()
    report.findings = machine.look(pipeline.settings, pipeline.clock.now(), ledger)
    return report


def _records(described: ObjectType) -> dg.AssetsDefinition:
    """The records of an object type."""
    stages = ["raw.pipeline_stage"] if described.pipelines else []
    return extraction(
        described.table,
        ["raw.account", *stages, "raw.webhook_event"],
        lambda pipeline, hours: pipeline.readers.records.read(described.name, hours.since),
        [complete(described.table)],
    )


def _source(source: Source) -> Read:
    return lambda pipeline, hours: pipeline.readers.sources.read(source, pipeline.connections.to(source), hours.since)


def _before(source: Source) -> list[str]:
    """HubSpot's own campaigns write their spend into the table of the source, so they come first."""
    return ["raw.account", *([campaigns.TABLE] if source.table == campaigns.SPENT else [])]


def _webhooks(pipeline: Pipeline, _: Window) -> StreamReport:
    return inbox.load(pipeline.warehouse, pipeline.clock, pipeline.settings.inbox)


def installation() -> Check:
    """What `crm-attribution preflight` looks at without a call, every hour. The rest is judged hourly anyway:
    scopes by the reads that need them, the mapping's names by their checks, platforms by the sinks."""
    check = dg.AssetCheckSpec(
        "preflight",
        asset=key_of("raw.account"),
        description="Versions of APIs, data directory, disk and delivery ledger are as they must be. A warning does not"
        " fail it. `crm-attribution preflight` looks at HubSpot and the platforms too.",
    )

    def judge(report: StreamReport) -> dg.AssetCheckResult:
        named = [one for one in report.findings or () if one.state in ("warning", "failed")]
        return dg.AssetCheckResult(
            check_name=check.name,
            asset_key=check.asset_key,
            passed=report.findings is not None and worst(report.findings) != "failed",
            metadata={one.name: f"{one.state}: {one.found}; {one.fix}" for one in named},
        )

    return check, judge


def oauth_health() -> Check:
    """Renewals of the OAuth token succeed; those of a token that needs none are none."""
    check = dg.AssetCheckSpec(
        "oauth_health",
        asset=key_of("raw.account"),
        description=f"At most {ALARM_PERCENT} % of the attempts of {DAYS} days to renew HubSpot's OAuth token failed"
        f" (`{FILE}` in the data directory).",
    )

    def judge(report: StreamReport) -> dg.AssetCheckResult:
        counted = report.refreshes
        return dg.AssetCheckResult(
            check_name=check.name,
            asset_key=check.asset_key,
            passed=counted is None or not counted.is_alarming,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={} if counted is None else {"attempts": counted.attempts, "failed": counted.errors},
        )

    return check, judge


def complete(name: str) -> Check:
    """HubSpot's count of unarchived records is ours."""
    check = dg.AssetCheckSpec(
        "complete",
        asset=key_of(name),
        description="As many unarchived records as HubSpot counts are known here, those in quarantine included.",
    )

    def judge(report: StreamReport) -> dg.AssetCheckResult:
        theirs, ours = report.source_total, report.known_total
        return dg.AssetCheckResult(
            check_name="complete",
            asset_key=key_of(name),
            passed=theirs is not None and theirs == ours,
            metadata={
                "HubSpot counts": str(theirs),
                "known here": str(ours),
                "ids not accounted for": report.unaccounted or "none",
            },
        )

    return check, judge


def properties_exist() -> Check:
    """Every configured property exists."""
    check = dg.AssetCheckSpec(
        "configured_properties_exist",
        asset=key_of("raw.property"),
        description="The portal has every property the mapping names; HubSpot ignores unknown names without a word.",
    )

    def judge(report: StreamReport) -> dg.AssetCheckResult:
        unknown = report.unknown_properties
        return dg.AssetCheckResult(
            check_name="configured_properties_exist",
            asset_key=key_of("raw.property"),
            passed=unknown == [],
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "unknown": "not compared" if unknown is None else ", ".join(unknown) or "none",
                "fix": "correct the names under properties, history, values or consent in the mapping file",
            },
        )

    return check, judge


def _reconciliation() -> dg.AssetsDefinition:
    """The assets of the daily job: compares records with HubSpot, lists what is missing, and asks for the won deals."""
    name = "raw.missing"
    nothing = dg.AssetCheckSpec(
        "nothing_missing",
        asset=key_of(name),
        description="Every record HubSpot no longer answers for is explained. A person confirms an erasure with the"
        " job privacy_deletion.",
    )

    @dg.multi_asset(
        name="raw__missing",
        specs=[spec(table, _RECORDS, kinds=["hubspot", "duckdb"], hourly=False) for table in (name, closed_won.TABLE)],
        check_specs=[*table_checks(name, closed_won.TABLE), nothing],
    )
    def asset(pipeline: PipelineParam) -> Iterator[Result]:
        with acting_on_errors():
            with pipeline.warehouse.session() as session:
                check_first_load(session.state, pipeline.settings.start, pipeline.clock.now())
            report = pipeline.readers.reconciliation.run()
            won = pipeline.readers.closed_won.read()
            with pipeline.warehouse.session() as session:
                rows = session.query(
                    "SELECT object_type || ' ' || object_id AS id FROM raw.missing WHERE found_at IS NULL ORDER BY 1"
                )["id"]
                found = dg.AssetCheckResult(
                    check_name="nothing_missing",
                    asset_key=key_of(name),
                    passed=rows.is_empty(),
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"missing": len(rows), "sample": ", ".join(rows.head(20)) or "none"},
                )
                checks = run_table_checks(session, name, closed_won.TABLE)
        yield result(pipeline, name, report, [*checks, found])
        yield result(pipeline, closed_won.TABLE, won, [])

    return asset


_RECORDS = [described.table for described in OBJECT_TYPES.values()]

assets = [
    extraction("raw.account", [], _account, [installation(), oauth_health()]),
    extraction("raw.owner", ["raw.account"], lambda pipeline, _: pipeline.readers.reference.owners()),
    extraction("raw.pipeline_stage", ["raw.account"], lambda pipeline, _: pipeline.readers.reference.stages()),
    extraction("raw.form", ["raw.account"], lambda pipeline, _: pipeline.readers.reference.forms()),
    extraction("raw.webhook_event", ["raw.account"], _webhooks),
    extraction(
        "raw.property", ["raw.account"], lambda pipeline, _: pipeline.readers.properties.read(), [properties_exist()]
    ),
    *(_records(described) for described in OBJECT_TYPES.values()),
    extraction(
        "raw.form_submission", ["raw.form"], lambda pipeline, hours: pipeline.readers.streams.submissions(hours.since)
    ),
    extraction(
        "raw.email_click",
        ["raw.account"],
        lambda pipeline, hours: pipeline.readers.streams.email_clicks(hours.since),
        [_is_read("raw.email_click")],
    ),
    extraction(
        "raw.activity",
        ["raw.account"],
        lambda pipeline, hours: pipeline.readers.activities.read(hours.since),
        [_is_read("raw.activity", dg.AssetCheckSeverity.WARN)],
    ),
    extraction(
        campaigns.TABLE,
        ["raw.account"],
        lambda pipeline, hours: pipeline.readers.campaigns.read(hours.since),
        [_is_read(campaigns.TABLE, dg.AssetCheckSeverity.WARN)],
    ),
    *(extraction(source.table, _before(source), _source(source), kind=source.kind) for source in sources().values()),
    written_beside("raw.property_history", _RECORDS),
    written_beside("raw.association", _RECORDS),
    written_beside("raw.merge", _RECORDS),
    written_beside("raw.deletion", _RECORDS),
    written_beside("raw.property_drift", ["raw.property"]),
    written_beside("raw.stage_meaning", ["raw.pipeline_stage"]),
    _reconciliation(),
]
