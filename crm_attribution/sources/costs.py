"""Costs of sales and marketing other than ads, by month and kind."""

from __future__ import annotations

from crm_attribution.sources.amounts import AMOUNT, Amounts
from crm_attribution.sources.restated import Restated
from crm_attribution.sources.rows import month, slug

SOURCE = Amounts(
    name="costs",
    table="raw.cost",
    folder="costs",
    restated=Restated(part=("month", "kind"), adds=("amount",)),
    filled=("told_at",),
    readers={"month": month, "kind": slug},
    in_files={"month": "month the cost belongs to: 2026-03, or its first day", "amount": f"cost: {AMOUNT}"},
)
