"""What Dagster loads: `dagster dev -m crm_attribution.definitions`."""

from crm_attribution import stopping
from crm_attribution.orchestration.graph import definitions

stopping.private()  # for runs that Dagster starts
defs = definitions()
