"""What Dagster loads: `dagster dev -m crm_attribution.definitions`."""

from crm_attribution import configuration, stopping
from crm_attribution.http.clock import make_clock
from crm_attribution.orchestration.graph import definitions
from crm_attribution.orchestration.hours import hourly

stopping.private()  # for runs that Dagster starts
given = configuration.load()
defs = definitions(hourly(given.start, make_clock(given)))
