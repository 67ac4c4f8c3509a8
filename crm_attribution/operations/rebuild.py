"""Derive everything after raw again. Kept: person ids, credit versions, the ledger."""

from __future__ import annotations

from crm_attribution.clock import WallClock, iso
from crm_attribution.layers import LAYERS, PLANNING, forget
from crm_attribution.operations.status import run_summary
from crm_attribution.orchestration.hours import HOUR
from crm_attribution.orchestration.resources import WAREHOUSE_WAIT, open_warehouse, run_lock
from crm_attribution.orchestration.runs import run_hours
from crm_attribution.settings import Settings
from crm_attribution.warehouse.report import CHANGED
from crm_attribution.warehouse.state import newest_hour_end

_GROUPS = [table.split(".")[0] for step in (*LAYERS, PLANNING) for table in step.writes]
SELECTION = " or ".join(f'group:"{group}"' for group in dict.fromkeys([*_GROUPS, "staging", "marts", "finance"]))


def rebuild_all(given: Settings) -> dict[str, int]:
    """Empty the derived tables, derive them again, and publish. Nothing is extracted and nothing sent.

    Returns:
        rows that differ afterwards, per mart: zero everywhere unless the rules have changed.
    """
    warehouse = open_warehouse(given, WAREHOUSE_WAIT)
    holder = {"run_id": "rebuild", "command": "crm-attribution rebuild", "since": iso(WallClock().now())}
    with run_lock(given).acquire(given.lock_wait_seconds, holder), warehouse.session() as session:
        end = newest_hour_end(session.state)
        forget(session)
    run_id = run_hours(given, end - HOUR, end, select=SELECTION, tags={"crm_attribution/rebuild": "true"})
    tables = run_summary(given, run_id)["tables"]
    return {name: int(facts[CHANGED]) for name, facts in tables.items() if name.startswith("marts.")}
