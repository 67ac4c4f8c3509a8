"""What the touches of a platform's campaign may be called: by a rule of the mapping, its id, its name."""

from __future__ import annotations

import re

import polars as pl

from crm_attribution.attribution.rules.channels import spelled_campaigns
from crm_attribution.identifiers import visible
from crm_attribution.mapping import Rules
from crm_attribution.mapping.spend import FIELDS, UtmRule


def spend_campaigns(campaigns: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """attribution.spend_campaign rows.

    Args:
        campaigns: platform, ad_account, campaign_id and campaign_name, each once; empty texts where nothing is told.
            utm_campaign: of HubSpot's own campaigns, which know it; else null.
        rules: sections `spend` and `touches`.
    """
    told = [_told(row, rules.spend.utm_rules) for row in campaigns.select(FIELDS).iter_rows(named=True)]
    of_rule = pl.DataFrame(told, schema={"rule": pl.Int64, "campaign_of_rule": pl.String}, orient="row")
    rows = pl.concat([campaigns.select(FIELDS), of_rule], how="horizontal").with_columns(
        campaign_of_id=campaigns["utm_campaign"].fill_null(campaigns["campaign_id"]),
        campaign_of_name="campaign_name",
    )
    return rows.with_columns(
        spelled_campaigns(rows[name], rules.touches)
        for name in ("campaign_of_rule", "campaign_of_id", "campaign_of_name")
    )


def _told(row: dict[str, str], rules: list[UtmRule]) -> tuple[int | None, str | None]:
    """The place of the first rule that holds, from 1, and the utm_campaign it tells."""
    for place, rule in enumerate(rules, 1):
        found = [_match(visible(row[name]).strip(), getattr(rule, name)) for name in FIELDS if getattr(rule, name)]
        if all(found):
            stars = found[-1].groups() if rule.campaign_name and found[-1] else ()
            named = {name: row[name] for name in ("campaign_id", "campaign_name")}
            return place, rule.utm_campaign.format("", *stars, **named).strip() or None
    return None, None


def _match(text: str, patterns: list[str]) -> re.Match[str] | None:
    for pattern in patterns:
        found = re.fullmatch("(.*?)".join(map(re.escape, pattern.split("*"))), text, re.IGNORECASE | re.DOTALL)
        if found:
            return found
    return None
