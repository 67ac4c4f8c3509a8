"""What ads cost, by day, ad account and campaign, from the platforms' exports."""

from __future__ import annotations

from crm_attribution.sources.amounts import AMOUNT, Amounts
from crm_attribution.sources.restated import Restated
from crm_attribution.sources.rows import count, joined_digits, slug

SOURCE = Amounts(
    name="spend",
    table="raw.ad_spend",
    folder="spend",
    restated=Restated(part=("date", "platform", "ad_account"), adds=("amount", "clicks", "impressions")),
    filled=("campaign_id", "campaign_name", "told_at"),
    readers={"platform": slug, "ad_account": joined_digits, "clicks": count, "impressions": count},
    in_files={"amount": f"what was spent: {AMOUNT}"},
)
