"""finance.period: months that are closed, and since when."""

from __future__ import annotations

PERIOD = "finance.period"
