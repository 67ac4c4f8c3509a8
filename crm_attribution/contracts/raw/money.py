"""What was spent, and exchange rates."""

from __future__ import annotations

import polars as pl

from crm_attribution.contracts.base import Model, Timestamp, field, table
from crm_attribution.contracts.raw.fields import TOLD_AT
from crm_attribution.contracts.topics import AD_CAMPAIGN, AD_SPEND, COST, EXCHANGE_RATE
from crm_attribution.money import CURRENCY


@table(
    "raw.ad_spend",
    key=("date", "platform", "ad_account", "currency", "campaign_id", "campaign_name"),
    journal={AD_SPEND: "date", AD_CAMPAIGN: ("platform", "ad_account", "campaign_id")},
)
class AdSpend(Model):
    """What ads cost by day and campaign, as the platforms show it, and what was spent on HubSpot's own campaigns.

    A file tells a day of an ad account whole: a day told again is replaced by what was told later, whichever file is
    read first. Several rows of a campaign in one file add up; a line that is there twice, equal in every field, is
    refused.
    """

    date: pl.Date = field("day in the ad account's time zone")
    platform: str = field("ad platform, lower case, words joined by _: google_ads", str_length={"min_value": 1})
    ad_account: str = field("id of the ad account at the platform, without - between digits")
    currency: str = field("ISO 4217 code of `amount`", str_matches=CURRENCY)
    campaign_id: str = field("the platform's id of the campaign; empty where it tells none")
    campaign_name: str = field("name of the campaign at the platform; empty where it tells none")
    amount: int = field("what was spent, in minor units of `currency`; below zero where the platform gave back")
    clicks: int = field("clicks the platform counts", nullable=True, ge=0)
    impressions: int = field("impressions the platform counts", nullable=True, ge=0)
    told_at: Timestamp = field(TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.campaign", key=("campaign_id",), journal={AD_CAMPAIGN: ("'hubspot'", "portal_id", "campaign_id")})
class Campaign(Model):
    """HubSpot's own campaigns with their budget, where `streams.campaigns` reads them; what was spent on them is in
    raw.ad_spend, with the platform hubspot and the portal as its account. One that is gone from HubSpot stays as it was
    read last.

    https://developers.hubspot.com/docs/api-reference/latest/marketing/campaigns/guide
    """

    campaign_id: str = field("HubSpot's id of the campaign (a GUID)", str_length={"min_value": 1})
    portal_id: str = field("HubSpot portal id")
    name: str = field("name (hs_name); empty where it has none")
    utm_campaign: str = field("the utm_campaign of its links (hs_utm)", nullable=True)
    currency: str = field("ISO 4217 code of `budget`", nullable=True, str_matches=CURRENCY)
    budget: int = field("sum of its budget items, minor units")
    revenue_currency: str = field("ISO 4217 code of `revenue`", nullable=True, str_matches=CURRENCY)
    revenue: int = field(
        "what HubSpot's own revenue report credits to it by its model LINEAR, of all times, minor units; null where"
        " `streams.campaign_revenue` does not read it",
        nullable=True,
    )
    revenue_deals: int = field("closed and won deals in that report", nullable=True, ge=0)
    updated_at: Timestamp = field("when HubSpot says it was changed last, UTC")
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table("raw.cost", key=("month", "kind", "currency"), journal={COST: "month"})
class Cost(Model):
    """What sales and marketing cost besides ads, by month and kind (salaries, tools, fairs). A file tells a month and
    kind whole: told again it is replaced by what was told later, whichever file is read first. Several rows of it in
    one file add up; a line that is there twice, equal in every field, is refused."""

    month: pl.Date = field("first day of the month the cost belongs to")
    kind: str = field("kind of cost, lower case, words joined by _", str_length={"min_value": 1})
    currency: str = field("ISO 4217 code of `amount`", str_matches=CURRENCY)
    amount: int = field("cost in minor units of `currency`; below zero for a refund")
    told_at: Timestamp = field(TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


@table(
    "raw.exchange_rate",
    key=("date", "from_currency", "to_currency"),
    journal={EXCHANGE_RATE: ("from_currency", "to_currency", "date")},
)
class ExchangeRate(Model):
    """Exchange rates by day. A day's rate told again is replaced by the one told later, whichever file is read first;
    of several in one file the last stays."""

    date: pl.Date = field("day the rate holds for")
    from_currency: str = field("ISO 4217 code of what is converted", str_matches=CURRENCY)
    to_currency: str = field("ISO 4217 code of what it becomes", str_matches=CURRENCY)
    rate: str = field("units of to_currency for one of from_currency: decimal number as text, exact, above zero")
    told_at: Timestamp = field(TOLD_AT)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)
