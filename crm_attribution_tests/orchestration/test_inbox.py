"""From HubSpot's webhook to the warehouse: the sandbox delivers, the receiver keeps, the sensor has them taken in."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from crm_attribution import configuration
from crm_attribution.orchestration.automation import inbox_waiting
from crm_attribution.orchestration.graph import definitions
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution_tests.sandbox.lines import COMPANY, Line, create, day, join, merge, update
from crm_attribution_tests.sandbox_process import Sandbox
from crm_attribution_tests.webhook.requests import SECRET, URL
from crm_attribution_tests.webhook.test_receive import receiver

pytestmark = pytest.mark.pipeline

NOW = day(10, "08:30:00")
HAPPENED: list[Line] = [
    update(day(10, "09:00:00"), "contacts", 13, email="cleo@quelle.example"),
    merge(day(10, "09:01:00"), "contacts", 11, 12, 90),
    join(day(10, "09:02:00"), ("deals", 22), ("companies", 32)),
    {"at": day(10, "09:03:00"), "op": "archive", "object": "deals", "id": "21"},
    create(day(10, "09:04:00"), "contacts", 15, email="dan@ufer.example"),
    {"at": day(10, "09:05:00"), "op": "privacy_delete", "object": "contacts", "id": "15"},
]


def asked(instance: dg.DagsterInstance) -> dg.RunRequest | str:
    """What the sensor wants: a run, or why not."""
    with dg.build_sensor_context(instance=instance, definitions=definitions()) as context:
        answer = inbox_waiting(context)
    if isinstance(answer, dg.SkipReason):
        return answer.skip_message or ""
    assert isinstance(answer, dg.RunRequest)
    return answer


def run(instance: dg.DagsterInstance, job: str, hour: str | None, *tables: str) -> dict[str, object]:
    """Figures of the last table's materialization."""
    chosen = [dg.AssetKey(name.split(".")) for name in tables]
    outcome = definitions().resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=hour,
        asset_selection=chosen,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )  # fmt: skip
    made = outcome.asset_materializations_for_node(tables[-1].replace(".", "__"))[0]
    return {name: value.value for name, value in made.metadata.items()}


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Sandbox.start(COMPANY, NOW) as found:
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("CRM_ATTRIBUTION_LOCK_WAIT", "5")
        yield found


def test_what_happens_in_hubspot_reaches_the_warehouse_by_webhook(sandbox: Sandbox, tmp_path: Path):
    sandbox.forget_webhooks()
    sandbox.log(HAPPENED)
    sandbox.set_clock(day(10, "10:30:00"))
    with receiver(tmp_path, CRM_ATTRIBUTION_CLOCK=sandbox.env["CRM_ATTRIBUTION_CLOCK"]) as running:
        where = f"http://127.0.0.1:{running.port}/webhooks/hubspot"
        wrong = sandbox.webhooks(where, "another secret", public_url=URL)
        delivered = sandbox.webhooks(where, SECRET, public_url=URL, duplicate=True, shuffle=7, batch=3, parallel=4)
    assert (wrong["delivered"], delivered["refused"]) == (0, 0)
    assert delivered["delivered"] >= len(HAPPENED)

    with dg.DagsterInstance.ephemeral() as instance:
        first = f"{configuration.load().start:%Y-%m-%d-%H:%M}"
        assert "that wait for the first hour" in str(asked(instance))
        run(instance, "hourly", first, "raw.account")
        request = asked(instance)
        assert isinstance(request, dg.RunRequest)
        assert request.partition_key == "2026-03-10-09:00"
        assert asked(instance).run_key == request.run_key  # type: ignore[union-attr]  # asked for once
        figures = run(instance, "inbox", request.partition_key, "raw.webhook_event")
        assert asked(instance) == "no webhooks wait"
    assert figures["events"] == delivered["delivered"]
    assert figures["quarantined"] == 0
    assert figures["dagster/row_count"] == delivered["delivered"] - int(str(figures["duplicates"]))
    with Warehouse(tmp_path).session() as session:
        merges = session.read("raw.merge").select("absorbed_id", "survivor_id", "source").sort("absorbed_id")
        gone = session.read("raw.deletion").select("object_type", "object_id", "kind", "source").sort("object_id")
        reread = set(session.read("raw.reread").select("object_type", "object_id").rows())
    assert merges.rows() == [(11, 90, "webhook"), (12, 90, "webhook")]
    assert gone.rows() == [("contacts", 15, "privacy", "webhook"), ("deals", 21, "archived", "webhook")]
    assert reread >= {("contacts", 13), ("contacts", 90), ("deals", 22), ("companies", 32), ("deals", 21)}
    assert ("contacts", 15) not in reread


def test_the_sensor_waits_for_the_run_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path))
    folder = tmp_path / "inbox" / "webhooks"
    folder.mkdir(parents=True)
    with dg.DagsterInstance.ephemeral() as instance:
        assert asked(instance) == "no webhooks wait"
        (folder / ".20260310T083000-hubspot-1.json.part").write_text("{")
        assert asked(instance) == "no webhooks wait"
        (folder / "20260310T083000-hubspot-1.json").write_text("{}")
        instance.add_run(dg.DagsterRun(job_name="hourly", status=dg.DagsterRunStatus.STARTED))
        assert asked(instance) == "deliveries that wait: 1; a run is under way"
