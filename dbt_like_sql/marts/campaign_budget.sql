-- One row per campaign of HubSpot's own, where the mapping reads them (streams.campaigns): its budget, what HubSpot says was
-- spent on it, and how much of that counts in marts.spend. Where an ad platform tells spend of the same campaign, theirs
-- counts and HubSpot's does not, whatever the day.
--
-- @audience: finance, marketing
-- @column campaign_id [not_null] [unique]: HubSpot's id of the campaign
-- @column campaign_name: its name; null where it has none
-- @column utm_campaign: the utm_campaign of its links, as HubSpot has it
-- @column currency: ISO 4217 code of its budget and spend
-- @column budget_minor [not_null]: sum of its budget items, minor units
-- @column spent_minor [not_null]: sum of its spend items, minor units
-- @column counted_minor [not_null]: the part of spent_minor that counts in marts.spend: all, or nothing
-- @column budget: sum of its budget items
-- @column spent: sum of its spend items
-- @column counted: the part of it that counts in marts.spend
-- @unique: campaign_id
with spent as (
    select
        campaign_id,
        currency,
        sum(amount_minor)::bigint as spent_minor,
        coalesce(sum(amount_minor) filter (where is_counted), 0)::bigint as counted_minor
    from marts.spend
    where platform = 'hubspot'
    group by campaign_id, currency
)

select
    campaign.campaign_id,
    nullif(withheld(campaign.name), '') as campaign_name,
    withheld(campaign.utm_campaign) as utm_campaign,
    campaign.currency,
    campaign.budget as budget_minor,
    coalesce(spent.spent_minor, 0) as spent_minor,
    coalesce(spent.counted_minor, 0) as counted_minor,
    campaign.budget::decimal(19, 0) * currency.unit as budget,
    coalesce(spent.spent_minor, 0)::decimal(19, 0) * currency.unit as spent,
    coalesce(spent.counted_minor, 0)::decimal(19, 0) * currency.unit as counted
from raw.campaign as campaign
left join spent on spent.campaign_id = campaign.campaign_id and spent.currency = campaign.currency
left join staging.currency as currency on currency.currency = campaign.currency
