"""What runs by itself: the hourly schedule, and sensors for dead runs, waiting files and failures."""

import re

import dagster as dg

from crm_attribution import configuration
from crm_attribution.clock import iso
from crm_attribution.errors import CrmAttributionError
from crm_attribution.http.clock import make_clock
from crm_attribution.http.transport import Transport, redact
from crm_attribution.identifiers import sha256
from crm_attribution.orchestration import hours
from crm_attribution.orchestration.instance import RECONCILIATION, fail_dead_runs, reason
from crm_attribution.orchestration.resources import privacy_waiting, warehouse_stamp
from crm_attribution.raw.webhooks import waiting
from crm_attribution.settings import ALERT_URL

ACCOUNT, WEBHOOKS = dg.AssetKey(["raw", "account"]), dg.AssetKey(["raw", "webhook_event"])

hourly_job = dg.define_asset_job(
    "hourly",
    selection=dg.AssetSelection.all() - RECONCILIATION,
    description="Extract, resolve, derive, attribute, send and publish: the whole chain for one hour or a range. The"
    " settings in force are metadata of the asset raw/account.",
    executor_def=dg.in_process_executor,
)

hourly_schedule = dg.build_schedule_from_partitioned_job(
    hourly_job,
    name="hourly_schedule",
    minute_of_hour=5,
    description="Five minutes after each hour, for the hour that closed.",
)

inbox_job = dg.define_asset_job(
    "inbox",
    selection=dg.AssetSelection.assets(WEBHOOKS),
    description="Take in the webhooks that wait; what they ask to be read again is read by the next hourly run.",
    executor_def=dg.in_process_executor,
)

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
reconcile_job = dg.define_asset_job(
    "reconcile",
    selection=RECONCILIATION,
    description="Compare records with HubSpot, a bounded number a day: archived, merged away, erased, silently changed."
    " Ask for the won deals, which marts.reconciliation compares. What it finds is taken up by the next hourly run.",
    executor_def=dg.in_process_executor,
)

reconcile_schedule = dg.ScheduleDefinition(
    name="reconcile_schedule",
    job=reconcile_job,
    cron_schedule="40 2 * * *",
    execution_timezone="UTC",
    description="Once a day, twenty minutes before the hour.",
)


@dg.sensor(
    name="dead_runs",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Marks runs failed whose process is gone; otherwise the queue would wait for them permanently.",
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    failed = fail_dead_runs(context.instance, configuration.load())
    return dg.SkipReason(f"marked failed: {', '.join(failed)}" if failed else "every started run has a live process")


@dg.sensor(
    name="inbox_waiting",
    job=inbox_job,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has waiting webhooks taken in, unless a run is under way or the first hour has not run yet.",
)
def inbox_waiting(context: dg.SensorEvaluationContext) -> dg.SkipReason | dg.RunRequest:
    given = configuration.load()
    files = waiting(given.inbox)
    if not files:
        return dg.SkipReason("no webhooks wait")
    if context.instance.get_run_records(dg.RunsFilter(statuses=_UNDER_WAY), limit=1):
        return dg.SkipReason(f"deliveries that wait: {len(files)}; a run is under way")
    if context.instance.get_latest_materialization_event(ACCOUNT) is None:
        return dg.SkipReason(f"deliveries that wait for the first hour, which loads the history: {len(files)}")
    hour = hours.key(hours.newest(make_clock(given)))
    return dg.RunRequest(run_key=f"{hour} {files[-1].name}", partition_key=hour)


@dg.sensor(
    name="privacy_requests",
    job_name="privacy_deletion",
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts privacy_deletion when contacts wait that HubSpot has erased. It looks only when the warehouse "
    "has changed and no run holds it, and starts the same request at most once an hour.",
)
def privacy_requests(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    given = configuration.load()
    now = make_clock(given).now()
    seen = warehouse_stamp(given)
    if seen is None or (seen == context.cursor):
        return dg.SkipReason("nothing has been written since the last look")
    if context.instance.get_runs_count(dg.RunsFilter(job_name="privacy_deletion", statuses=_UNDER_WAY)):
        return dg.SkipReason("privacy_deletion is queued or running")
    contacts = privacy_waiting(given, iso(now))
    if contacts is None:
        return dg.SkipReason("a run holds the warehouse; the next tick looks again")
    if not contacts:
        return dg.SensorResult(skip_reason="no contact waits", cursor=seen)
    key = f"{sha256(' '.join(map(str, contacts)))[:16]}:{now:%Y-%m-%dT%H}"
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key)])


@dg.run_failure_sensor(
    name="tell_of_failures",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Logs each failed run and posts it to CRM_ATTRIBUTION_ALERT_URL where that is set.",
)
def tell_of_failures(context: dg.RunFailureSensorContext) -> None:
    given = configuration.load()
    run = context.dagster_run
    secrets = [*given.secrets(), *_secret_parts(given[ALERT_URL])]
    message = {
        "text": f"crm_attribution: run {run.run_id} of {run.job_name} failed",
        "run_id": run.run_id,
        "job": run.job_name,
        "partition": run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start"),
        "error": reason(context.failure_event, secrets)[:1000],
    }
    context.log.error(f"run {run.run_id} failed: {message['error']}")
    if not given[ALERT_URL]:
        return
    base, _, path = given[ALERT_URL].partition("://")[2].partition("/")
    scheme = given[ALERT_URL].partition("://")[0]
    try:
        answer = Transport(f"{scheme}://{base}", service="alert").send_once("POST", f"/{path}", json=message)
        if answer.status >= 300:
            context.log.error(f"the alert was not taken: HTTP {answer.status}")
    except CrmAttributionError as error:
        context.log.error(redact(f"the alert was not sent: {error}", secrets))


def _secret_parts(url: str) -> list[str]:
    """The path of a hook's address is its password."""
    path = url.partition("://")[2].partition("/")[2]
    return [part for part in re.split(r"[/?&=]", path) if len(part) >= 8]
