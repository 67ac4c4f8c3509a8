"""Everything Dagster shows: put together here, once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import dagster as dg

from crm_attribution import configuration
from crm_attribution.destinations import destinations
from crm_attribution.orchestration import catalog, in_force
from crm_attribution.orchestration.assets import conversions, derived, raw, report, sql
from crm_attribution.orchestration.assets.common import HOURLY, key_of
from crm_attribution.orchestration.assets.periods import close_month, reopen_month
from crm_attribution.orchestration.assets.privacy import privacy_deletion
from crm_attribution.orchestration.assets.provision import provision
from crm_attribution.orchestration.assets.replay import replay
from crm_attribution.orchestration.automation import (
    ACCOUNT,
    dead_runs,
    hourly_job,
    hourly_schedule,
    inbox_job,
    inbox_waiting,
    privacy_requests,
    reconcile_job,
    reconcile_schedule,
    tell_of_failures,
)
from crm_attribution.orchestration.resources import open_warehouse
from crm_attribution.orchestration.run_setup import pipeline_resource

FILES = {model.key: model.path for model in sql.MODELS}
"""Table -> the SQL file that makes it."""

Facts = Mapping[dg.AssetKey, Mapping[str, str]]


@cache
def definitions(hours: dg.HourlyPartitionsDefinition = HOURLY) -> dg.Definitions:
    """Assets with their checks, the hourly job and schedule, sensors, and the pipeline resource.

    Runs execute in one process: the warehouse admits one writer.

    Args:
        hours: the partitions of what belongs to an hour. Commands do not end them: the clock may move between two of
            their runs, and a run refuses an hour that is not over by itself.
    """
    facts = _settings()
    assets = [*raw.assets, *derived.assets, *conversions.assets, *sql.assets, report.report]
    return dg.Definitions(
        assets=[asset.map_asset_specs(partial(_shown, hours=hours, facts=facts)) for asset in assets],
        resources={"pipeline": pipeline_resource},
        jobs=[close_month, hourly_job, inbox_job, privacy_deletion, reconcile_job, reopen_month, replay, provision],
        schedules=[hourly_schedule, reconcile_schedule],
        sensors=[dead_runs, inbox_waiting, privacy_requests, tell_of_failures],
        executor=dg.in_process_executor,
    )


def _settings() -> Facts:
    """The settings in force, on the asset of the portal, on each sink and on the published file. A run says them again
    as it finds them."""
    given = configuration.load()
    rules = in_force.rules_in_force(given)
    sinks = {key_of(f"delivery.{name}"): in_force.sending(one, given, rules) for name, one in destinations().items()}
    published = {key_of(sql.PUBLICATION): {"file": str(open_warehouse(given, 0).finance_path)}}
    return {ACCOUNT: in_force.shown(given, rules), **sinks, **published}


def _shown(spec: dg.AssetSpec, hours: dg.HourlyPartitionsDefinition, facts: Facts) -> dg.AssetSpec:
    """The asset as Dagster shows it."""
    if spec.partitions_def is not None:
        spec = spec.replace_attributes(partitions_def=hours)
    table = ".".join(spec.key.path)
    links = catalog.links(table, FILES.get(table))
    return spec.merge_attributes(metadata={**facts.get(spec.key, {}), **links})
