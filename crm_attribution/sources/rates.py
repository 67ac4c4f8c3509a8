"""Exchange rates by day, exact as they were told."""

from __future__ import annotations

from crm_attribution.sources.base import Source
from crm_attribution.sources.restated import Restated
from crm_attribution.sources.rows import iso_currency, positive_decimal

SOURCE = Source(
    name="rates",
    table="raw.exchange_rate",
    folder="rates",
    restated=Restated(part=("date", "from_currency", "to_currency")),
    filled=("told_at",),
    readers={"from_currency": iso_currency, "to_currency": iso_currency, "rate": positive_decimal},
)
