"""Column lineage as Dagster keeps it: with every materialization of a SQL model."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from crm_attribution import configuration
from crm_attribution.orchestration.assets.sql import MODELS
from crm_attribution.orchestration.graph import definitions
from crm_attribution.warehouse.connection import Warehouse

pytestmark = pytest.mark.pipeline


def test_every_model_is_materialized_with_the_columns_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path))
    with Warehouse(tmp_path).session() as session:
        session.state.watermark = configuration.load().start
    keys = {model.key: dg.AssetKey(model.key.split(".")) for model in MODELS}
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = definitions().resolve_job_def("hourly").execute_in_process(
            instance=instance,
            partition_key=f"{configuration.load().start:%Y-%m-%d-%H:%M}",
            asset_selection=list(keys.values()),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )  # fmt: skip
    made = {event.asset_key: event.materialization.metadata for event in outcome.get_asset_materialization_events()}
    for model in MODELS:
        lineage = made[keys[model.key]]["dagster/column_lineage"].value
        assert isinstance(lineage, dg.TableColumnLineage)
        assert list(lineage.deps_by_column) == [column.name for column in model.columns]
        deps = {dep.asset_key for found in lineage.deps_by_column.values() for dep in found}
        assert deps
        assert deps <= {dg.AssetKey(name.split(".")) for name in model.depends}
