"""Every teller, by what its destinations plan from. Milestones are planned by `plan` itself."""

from __future__ import annotations

from collections.abc import Mapping

from crm_attribution.conversions import alerts, identifying, records, stages, told
from crm_attribution.conversions.teller import Teller
from crm_attribution.destinations.base import Source

TELLERS: Mapping[Source, Teller] = {
    "touches": told.TELLER,
    "records": records.TELLER,
    "thresholds": stages.TELLER,
    "inputs": identifying.TELLER,
    "news": alerts.TELLER,
}
