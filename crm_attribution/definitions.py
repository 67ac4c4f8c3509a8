"""What Dagster loads: `dagster dev -m crm_attribution.definitions`."""

from crm_attribution.orchestration.graph import definitions

defs = definitions()
