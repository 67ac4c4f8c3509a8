-- One row per day, ad account, currency and campaign: what ads cost, as the platforms show it.
--
-- What looks like an e-mail address in the name of a campaign is withheld.
--
-- @materialized: view
-- @column spent_on [not_null]: day in the ad account's time zone
-- @column platform [not_null]: ad platform, lower case
-- @column ad_account [not_null]: id of the ad account at the platform
-- @column currency [not_null]: ISO 4217 code
-- @column campaign_id: the platform's id of the campaign; null where it tells none
-- @column campaign_name: name of the campaign at the platform; null where it tells none
-- @column amount_minor [not_null]: what was spent, minor units; below zero where the platform gave back
-- @column clicks: clicks the platform counts; null where it tells none
-- @column impressions: impressions the platform counts; null where it tells none
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null where the account has none
-- @column rate: units of home_currency for one of currency, exact; null where none is known (marts.known_gaps)
-- @column rate_source [in home, table, table_earlier]: home: it is the home currency; table: inbox/rates of that day;
--   table_earlier: the last of the days before
-- @column rate_on: the day of a rate of the table
-- @column amount_home_minor: amount in the home currency, minor units; each row of raw.ad_spend is converted once
-- @column campaign_of_rule: what the mapping's rules call its touches (attribution.spend_campaign)
-- @column campaign_of_id: its id in the spelling of touches
-- @column campaign_of_name: its name in the spelling of touches
-- @unique: spent_on, platform, ad_account, currency, campaign_id, campaign_name, campaign_of_rule, campaign_of_name
select
    spent.date as spent_on,
    spent.platform,
    spent.ad_account,
    spent.currency,
    nullif(spent.campaign_id, '') as campaign_id,
    nullif(withheld(spent.campaign_name), '') as campaign_name,
    sum(spent.amount)::bigint as amount_minor,
    sum(spent.clicks)::bigint as clicks,
    sum(spent.impressions)::bigint as impressions,
    home.home_currency,
    home.rate,
    home.rate_source,
    home.rate_on,
    case when count(*) = count(home.amount_home) then sum(home.amount_home)::bigint end as amount_home_minor,
    withheld(named.campaign_of_rule) as campaign_of_rule,
    withheld(named.campaign_of_id) as campaign_of_id,
    withheld(named.campaign_of_name) as campaign_of_name
from raw.ad_spend as spent
left join events.home_spend as home
    on
        home.period = 'day' and home.starts_on = spent.date
        and home.currency = spent.currency and home.amount = spent.amount
left join attribution.spend_campaign as named
    on
        named.platform = spent.platform and named.ad_account = spent.ad_account
        and named.campaign_id = spent.campaign_id and named.campaign_name = spent.campaign_name
group by all
