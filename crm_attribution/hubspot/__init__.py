"""HubSpot's API as small typed methods. Knows HTTP through `Transport` only."""

from crm_attribution.hubspot.associations import Association
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.limits import Limits, hubspot_budgets
from crm_attribution.hubspot.paths import Paths
from crm_attribution.hubspot.records import BatchResult
from crm_attribution.hubspot.search import Changed, ChangeFeed

__all__ = ["Association", "BatchResult", "ChangeFeed", "Changed", "HubSpotClient", "Limits", "Paths", "hubspot_budgets"]
