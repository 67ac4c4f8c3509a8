"""Prints what Dagster sees, as JSON: run in a process of its own, with nothing in the environment."""

from __future__ import annotations

import json
import sys
import warnings
from datetime import UTC, datetime
from typing import Any

import dagster as dg


def inventory() -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from crm_attribution.definitions import defs
    loud = [w for w in caught if not issubclass(w.category, DeprecationWarning | PendingDeprecationWarning)]
    assets: dict[str, Any] = {}
    for made in defs.resolve_asset_graph().assets_defs:
        for spec in made.specs:
            schema = spec.metadata.get("dagster/column_schema")
            retry = made.op.retry_policy
            assets[spec.key.to_user_string()] = {
                "description": spec.description,
                "owners": list(spec.owners),
                "kinds": sorted(spec.kinds),
                "group": spec.group_name,
                "columns": [column.name for column in schema.columns] if isinstance(schema, dg.TableSchema) else [],
                "texts": [spec.description or "", *(c.description or "" for c in schema.columns)]
                if isinstance(schema, dg.TableSchema)
                else [spec.description or ""],
                "undescribed": [c.name for c in schema.columns if not c.description]
                if isinstance(schema, dg.TableSchema)
                else [],
                "partitions": _partitions(spec.partitions_def),
                "single_run": made.backfill_policy == dg.BackfillPolicy.single_run(),
                "freshness": spec.freshness_policy is not None,
                "links": sorted({"sql", "documentation", "dagster/code_references"} & set(spec.metadata)),
                "settings": {k: v.text for k, v in spec.metadata.items() if isinstance(v, dg.TextMetadataValue)}
                | {k: v for k, v in spec.metadata.items() if isinstance(v, str)},
                "retries": retry.max_retries if retry else 0,
                "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            }
    checks = [spec for made in defs.resolve_asset_graph().assets_defs for spec in made.check_specs]
    job = defs.resolve_job_def("hourly")
    schedule = defs.resolve_schedule_def("hourly_schedule")
    moment = datetime(2026, 3, 1, 10, 5, tzinfo=UTC)
    with dg.build_schedule_context(scheduled_execution_time=moment) as context:
        tick = schedule.evaluate_tick(context)
    return {
        "warnings": [str(w.message) for w in loud],
        "assets": assets,
        "checks": {
            f"{c.asset_key.to_user_string()}:{c.name}": {"blocking": c.blocking, "description": c.description}
            for c in checks
        },
        "schedule": {
            "cron": schedule.cron_schedule,
            "timezone": schedule.execution_timezone,
            "job": schedule.job_name,
            "at 10:05": [request.partition_key for request in tick.run_requests or ()],
            "running": schedule.default_status == dg.DefaultScheduleStatus.RUNNING,
        },
        "executors": {"definitions": _name(defs.executor), "job": _name(job.executor_def)},
        "jobs": sorted(job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")),
        "job_assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
        "sensors": {
            name: defs.resolve_sensor_def(name).default_status == dg.DefaultSensorStatus.RUNNING
            for name in ("dead_runs", "inbox_waiting", "privacy_requests", "tell_of_failures")
        },
    }


def _name(executor: Any) -> str:
    return str(executor.name)


def _partitions(given: dg.PartitionsDefinition[str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    assert isinstance(given, dg.TimeWindowPartitionsDefinition)
    return {"cron": given.cron_schedule, "timezone": given.timezone, "start": given.start.isoformat()}


if __name__ == "__main__":
    json.dump(inventory(), sys.stdout)
