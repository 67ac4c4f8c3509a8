"""Who asks for a privacy deletion: the sensor, the command line; and what never happens."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import SkipReason

from crm_attribution import configuration
from crm_attribution.orchestration.automation import privacy_requests
from crm_attribution.orchestration.resources import run_lock, warehouse_stamp
from crm_attribution.privacy import erase as privacy
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution_tests.helpers import at, new_warehouse

ROOT = Path(__file__).parents[2]
NOW = at("2026-03-10")


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path))
    return new_warehouse(tmp_path)


def look(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[str], str | None]:
    """What one look of the sensor asks for (or why it does not), and its cursor."""
    with dg.build_sensor_context(instance, cursor=cursor) as context:
        outcome = privacy_requests(context)
    if isinstance(outcome, SkipReason):
        return [str(outcome.skip_message)], cursor
    assert isinstance(outcome, dg.SensorResult)
    return [request.run_key or "" for request in outcome.run_requests or ()], outcome.cursor or cursor


def test_the_sensor_asks_once_a_contact_waits_and_opens_nothing_while_a_run_goes_on(warehouse: Warehouse) -> None:
    given = configuration.load()
    with dg.DagsterInstance.ephemeral() as instance:
        asked, cursor = look(instance)
        assert (asked, cursor) == ([], warehouse_stamp(given))
        assert look(instance, cursor)[0] == ["nothing has been written since the last look"]
        with warehouse.session() as session, session.transaction():
            session.connection.execute(
                "INSERT INTO raw.deletion BY NAME SELECT 'contacts' AS object_type, 7 AS object_id,"
                " 'privacy' AS kind, ?::TIMESTAMPTZ AS deleted_at, 'webhook' AS source, ?::TIMESTAMPTZ AS noticed_at",
                [NOW, NOW],
            )
        with run_lock(given).acquire(1, {"run_id": "r", "command": "a run"}):
            assert look(instance, cursor)[0] == ["a run holds the warehouse; the next tick looks again"]
        first, cursor = look(instance, cursor)
        again, cursor = look(instance, cursor)
        assert len(first) == 1
        assert first[0].split(":")[0] == again[0].split(":")[0]  # the same request in the same hour is one run
        with warehouse.session() as session:
            privacy.finish(session, [7], NOW)
        assert look(instance, cursor)[0] == []


def test_no_code_of_ours_calls_hubspots_own_erasure() -> None:
    """A typing mistake there puts an address on a block list for good."""
    package = ROOT / "crm_attribution"
    callers = [p.name for p in package.rglob("*.py") if "gdpr-delete" in p.read_text() and "sandbox" not in p.parts]
    assert callers == []
