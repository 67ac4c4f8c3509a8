-- One row per day, ad account, currency and campaign: what ads cost, as the platforms show it.
--
-- What looks like an e-mail address in the name of a campaign is withheld.
--
-- @column spent_on [not_null]: day in the ad account's time zone
-- @column platform [not_null]: ad platform, lower case
-- @column ad_account [not_null]: id of the ad account at the platform
-- @column currency [not_null]: ISO 4217 code
-- @column campaign_id: the platform's id of the campaign; null where it tells none
-- @column campaign_name: name of the campaign at the platform; null where it tells none
-- @column amount_minor [not_null]: what was spent, minor units; below zero where the platform gave back
-- @column clicks: clicks the platform counts; null where it tells none
-- @column impressions: impressions the platform counts; null where it tells none
-- @unique: spent_on, platform, ad_account, currency, campaign_id, campaign_name
select
    date as spent_on,
    platform,
    ad_account,
    currency,
    nullif(campaign_id, '') as campaign_id,
    case
        when regexp_matches(campaign_name, '[^@\s]+@[^@\s]+\.[^@\s]+') then '(withheld)'
        else nullif(campaign_name, '')
    end as campaign_name,
    sum(amount)::bigint as amount_minor,
    sum(clicks)::bigint as clicks,
    sum(impressions)::bigint as impressions
from raw.ad_spend
group by all
