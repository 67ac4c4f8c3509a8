"""conversions/conversion: the outbox, and delivery/*: one sink per destination, which sends everything due."""

from datetime import timedelta

import dagster as dg

from crm_attribution.conversions import plan as conversions
from crm_attribution.conversions import recipients, traits
from crm_attribution.conversions.identify import TOLD
from crm_attribution.conversions.plan import Planning
from crm_attribution.delivery.deliver import deliver
from crm_attribution.delivery.looking import Looking
from crm_attribution.delivery.replay_inbox import take
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Destination
from crm_attribution.layers import ALERTING, COMPUTING, PLANNING, SENDING, TELLING
from crm_attribution.ledger.tables import ATTEMPT, CONVERSION, QUALITY, RECEIPT, REPLAY
from crm_attribution.orchestration import catalog
from crm_attribution.orchestration.assets.common import (
    BACKFILL,
    HOURLY,
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
from crm_attribution.orchestration.resources import Pipeline

CHECK = "account_can_send"
BACKLOG = "no_backlog"
USABLE = dg.AssetCheckSpec(
    "rules_usable",
    asset=key_of(CONVERSION),
    description="Every threshold rule and computed trait that the mapping names can be used; the others go on without.",
)


@dg.multi_asset(
    name="conversions__conversion",
    specs=[
        spec(
            CONVERSION,
            sorted({*PLANNING.reads, *TELLING.reads, *COMPUTING.reads, *ALERTING.reads} - {*COMPUTING.writes}),
        )
    ],
    check_specs=[*table_checks(CONVERSION), USABLE],
    backfill_policy=BACKFILL,
)
def conversion(pipeline: PipelineParam) -> Result:
    now = pipeline.clock.now()
    with acting_on_errors(), pipeline.warehouse.session() as session:
        report = conversions.update(session, pipeline.ledger, pipeline.rules, pipeline.settings, now)
        report.figures["wishes to replay"] = take(session, pipeline.ledger, pipeline.settings.inbox, pipeline.clock)
        return result(pipeline, CONVERSION, report, [*run_table_checks(session, CONVERSION), _usable(report)])


def _usable(report: Planning) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=USABLE.name,
        asset_key=USABLE.asset_key,
        passed=not report.wrong,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={**report.wrong, "fix": "correct the file or the rule; `crm-attribution preflight` reads both"},
    )


def sink(destination: Destination) -> dg.AssetsDefinition:
    """The asset that sends a destination's due conversions and records what became of each."""
    name = f"delivery.{destination.name}"
    account_check = dg.AssetCheckSpec(
        CHECK, asset=key_of(name), description="The platform takes our calls: token, permission and account."
    )

    backlog_check = dg.AssetCheckSpec(
        BACKLOG,
        asset=key_of(name),
        description=f"Nothing has been due for more than {destination.stuck_after // timedelta(hours=1)} h without a"
        " reason to wait.",
    )

    @dg.multi_asset(
        name=name.replace(".", "__"),
        specs=[_spec(name, destination)],
        backfill_policy=BACKFILL,
        check_specs=[account_check, backlog_check],
    )
    def asset(context: dg.AssetExecutionContext, pipeline: PipelineParam) -> Result:
        reason = conversions.why_not(destination, pipeline.rules, pipeline.settings)
        if reason is not None:
            pipeline.say(f"{name}: skipped, {reason}")
            return dg.MaterializeResult(
                metadata={"skipped": reason},
                check_results=[dg.AssetCheckResult(check_name=one, passed=True) for one in (CHECK, BACKLOG)],
            )
        with acting_on_errors():
            report = deliver(
                destination,
                settings=pipeline.settings,
                rules=pipeline.rules,
                warehouse=pipeline.warehouse,
                ledger=pipeline.ledger,
                clock=pipeline.clock,
                window_end=window(context).end,
                resolve=recipients.resolver(destination, pipeline.rules),
                looking=lambda account: Looking.of(account, pipeline.rules),
            )
        return _shown(pipeline, name, report)

    return asset


def _spec(name: str, destination: Destination) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=key_of(name),
        deps=[key_of(table) for table in (CONVERSION, *SENDING.reads)],
        group_name=catalog.group(name),
        kinds={destination.name, "api"},
        owners=catalog.owners(name),
        description=f"Sends every conversion due by the end of the hour to {destination.name} and settles each "
        f"row. Materializing an hour again sends nothing twice. {destination.documentation}",
        partitions_def=HOURLY,
        freshness_policy=catalog.freshness(name, hourly=True),
        metadata={"dagster/table_name": ATTEMPT},
    )


def _shown(pipeline: Pipeline, name: str, report: DeliveryReport) -> Result:
    """A delivery as metadata, check and a line for the command line."""
    figures = ", ".join(f"{count} {state}" for state, count in report.counts.items()) or "nothing due"
    pipeline.say(f"{name}: {figures}" + (f"; {report.alert}" if report.alert else ""))
    check = dg.AssetCheckResult(
        check_name=CHECK, passed=report.alert is None, metadata={"what to do": report.alert or "nothing"}
    )
    backlog = dg.AssetCheckResult(
        check_name=BACKLOG,
        passed=not report.stuck,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"conversions": report.stuck, "stopped": report.stopped or "no"},
    )
    return dg.MaterializeResult(
        metadata={"dagster/row_count": sum(report.counts.values()), **dict(report.facts())},
        check_results=[check, backlog],
    )


sinks = [sink(destination) for destination in destinations().values()]

assets = [
    conversion,
    *(written_beside(table, [CONVERSION]) for table in (TOLD, traits.TABLE, traits.EVENTS)),
    *sinks,
    *(
        written_beside(table, [f"delivery.{name}" for name in destinations()])
        for table in (ATTEMPT, RECEIPT, QUALITY, REPLAY)
    ),
]
