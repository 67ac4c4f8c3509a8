-- One row per day, ad account, currency and campaign: what ads cost and which campaign of the touches it paid for.
-- Spend that no touch names is a row too, with match = none, so per currency the amounts add up to what the platforms
-- show. Sum one currency at a time, or amount_home, and only rows with is_counted. Costs other than ads are in marts.cost.
--
-- A campaign matches the touches whose utm_campaign is what the first rule of spend.utm_rules that holds tells; else those
-- whose utm_campaign is its id; else its name, as touches.campaigns spell it, word for word or in another spelling
-- (capitals, spaces and punctuation do not count). Of several spellings campaign shows the one of most touches. Days are those of the ad account's time zone, not of the account in HubSpot.
--
-- @audience: finance, marketing
-- @column spent_on [not_null]: day in the ad account's time zone
-- @column spent_month [not_null]: first day of that month
-- @column platform [not_null]: ad platform, lower case, words joined by _
-- @column ad_account [not_null]: id of the ad account at the platform
-- @column campaign_id: the platform's id of the campaign; null where it tells none
-- @column campaign_name: name of the campaign at the platform; null where it tells none
-- @column campaign: campaign of the touches, as in marts.revenue_attribution; null without a match
-- @column match [not_null] [in rule, id, name, none]: how the campaign of the touches was found
-- @column is_counted [not_null]: sum only these. False for what HubSpot says was spent on its own campaign (platform hubspot)
--   where an ad platform tells spend of the same campaign: one campaign is not added up twice
-- @column currency [not_null]: ISO 4217 code
-- @column amount_minor [not_null]: what was spent, minor units; below zero where the platform gave back
-- @column amount [not_null]: the same in the currency's unit, exact
-- @column clicks: clicks the platform counts; null where it tells none
-- @column impressions: impressions the platform counts; null where it tells none
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null where the account has none
-- @column rate: units of home_currency for one of currency, exact; null where none is known (marts.known_gaps)
-- @column rate_source [in home, table, table_earlier]: where the rate comes from. home: it is the home currency; table: that
--   of spent_on in inbox/rates; table_earlier: the last of the days before (mapping, currency.rate_days)
-- @column rate_on: the day of a rate of the table
-- @column amount_home_minor: what was spent in the home currency, minor units; null without a rate
-- @column amount_home: the same in the home currency's unit, exact
-- @unique: spent_on, platform, ad_account, campaign_id, campaign_name, currency, campaign, match, is_counted
with touched as (
    select
        campaign,
        nullif(lower(regexp_replace(campaign, '[^\p{L}\p{N}]+', '', 'g')), '') as letters,
        count(*) as touches
    from attribution.touch
    where campaign is not null and withheld(campaign) = campaign
    group by campaign
),

spelled as (
    select letters, campaign
    from touched
    where letters is not null
    qualify row_number() over (partition by letters order by touches desc, campaign) = 1
),

named as (
    select distinct
        campaign_id,
        campaign_name,
        campaign_of_rule,
        coalesce(campaign_of_id, campaign_id) as campaign_of_id,
        coalesce(campaign_of_name, campaign_name) as campaign_of_name,
        lower(regexp_replace(campaign_name, '[^\p{L}\p{N}]+', '', 'g')) as letters
    from staging.ad_spend
),

matched as (
    select
        named.campaign_id,
        named.campaign_name,
        named.campaign_of_rule as told_by_rule,
        named.campaign_of_name as told_by_name,
        by_rule.campaign as campaign_of_rule,
        by_id.campaign as campaign_of_id,
        coalesce(by_name.campaign, by_letters.campaign) as campaign_of_name
    from named
    left join touched as by_rule on by_rule.campaign = named.campaign_of_rule
    left join touched as by_id on by_id.campaign = named.campaign_of_id
    left join touched as by_name on by_name.campaign = named.campaign_of_name
    left join spelled as by_letters on by_letters.letters = named.letters
),

spent as (
    select
        spend.*,
        coalesce(matched.campaign_of_rule, matched.campaign_of_id, matched.campaign_of_name) as campaign,
        case
            when matched.campaign_of_rule is not null then 'rule'
            when matched.campaign_of_id is not null then 'id'
            when matched.campaign_of_name is not null then 'name'
            else 'none'
        end as match
    from staging.ad_spend as spend
    left join matched
        on
            matched.campaign_id is not distinct from spend.campaign_id
            and matched.campaign_name is not distinct from spend.campaign_name
            and matched.told_by_rule is not distinct from spend.campaign_of_rule
            and matched.told_by_name is not distinct from coalesce(spend.campaign_of_name, spend.campaign_name)
),

told_by_platforms as (
    select distinct coalesce(campaign, campaign_of_name) as campaign
    from spent
    where platform <> 'hubspot'
),

counted as (
    select spent.*, spent.platform <> 'hubspot' or told.campaign is null as is_counted
    from spent
    left join told_by_platforms as told on told.campaign = coalesce(spent.campaign, spent.campaign_of_name)
),

summed as (
    select
        spent_on,
        platform,
        ad_account,
        campaign_id,
        campaign_name,
        campaign,
        match,
        is_counted,
        currency,
        sum(amount_minor)::bigint as amount_minor,
        sum(clicks)::bigint as clicks,
        sum(impressions)::bigint as impressions,
        home_currency,
        rate,
        rate_source,
        rate_on,
        case when count(*) = count(amount_home_minor) then sum(amount_home_minor)::bigint end as amount_home_minor
    from counted
    group by all
)

select
    spend.spent_on,
    date_trunc('month', spend.spent_on)::date as spent_month,
    spend.platform,
    spend.ad_account,
    spend.campaign_id,
    spend.campaign_name,
    spend.campaign,
    spend.match,
    spend.is_counted,
    spend.currency,
    spend.amount_minor,
    spend.amount_minor::decimal(19, 0) * currency.unit as amount,
    spend.clicks,
    spend.impressions,
    spend.home_currency,
    spend.rate,
    spend.rate_source,
    spend.rate_on,
    spend.amount_home_minor,
    spend.amount_home_minor::decimal(19, 0) * home.unit as amount_home
from summed as spend
left join staging.currency as currency on currency.currency = spend.currency
left join staging.currency as home on home.currency = spend.home_currency
