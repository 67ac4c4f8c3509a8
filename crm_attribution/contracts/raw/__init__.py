"""`raw.*`: what the sources said, typed, one row per key, never derived."""

from crm_attribution.contracts.raw import activity, extraction, history, money, records, setup
from crm_attribution.contracts.raw.activity import OBSOLETED

__all__ = ["OBSOLETED", "activity", "extraction", "history", "money", "records", "setup"]
