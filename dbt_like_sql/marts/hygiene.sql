-- What in the tags of touches and in spend weakens the figures: how many touches, and how much money.
--
-- A row without a model counts touches, or is spend. A row with a model is the amount of won deals that the model gives
-- to those touches; sum one model, scope and currency at a time. Empty where nothing is to be tidied.
--
-- @audience: marketing, revenue-operations
-- @column problem [not_null] [in unknown_medium, untagged, without_campaign, spend_without_touches,
--   touches_without_spend]: unknown_medium: no channel rule holds though a medium is told; untagged: none holds and no
--   medium is told; without_campaign: no campaign, in a channel whose other touches have one; spend_without_touches: ads
--   that no touch names; touches_without_spend: a campaign without spend, in a channel whose other campaigns have some
-- @column subject [not_null]: the medium; the source, (none) without one; the channel; the platform and its campaign; the
--   channel and its campaign
-- @column model: attribution model of the amount; null where touches are counted, or spend
-- @column scope: scope of the model
-- @column currency: ISO 4217 code of the amount
-- @column touches [> 0]: how many touches; null where a row is about money
-- @column amount_minor: what the model gives those touches of customer_won and customer_expanded, or the spend, in minor
--   units
-- @column amount: the same in the currency's unit, exact
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null where a row counts touches, and where an
--   amount has no rate (marts.known_gaps): amounts with and without one are rows of their own
-- @column amount_home_minor: the amount in the home currency, minor units: wins by their own rates, spend by that of its day
-- @column amount_home: the same in the home currency's unit, exact
-- @column what_to_do [not_null]: how to tidy it
-- @unique: problem, subject, model, scope, currency, home_currency
with touch as (
    select
        touch_id,
        channel,
        channel_rule,
        withheld(source) as source,
        withheld(medium) as medium,
        withheld(campaign) as campaign
    from attribution.touch
),

bought as (
    select distinct campaign
    from marts.spend
    where campaign is not null
),

bought_channel as (
    select distinct touch.channel
    from touch
    join bought on bought.campaign = touch.campaign
),

flagged as (
    select touch_id, 'unknown_medium' as problem, medium as subject
    from touch
    where channel_rule is null and medium is not null
    union all
    select touch_id, 'untagged' as problem, coalesce(source, '(none)') as subject
    from touch
    where channel_rule is null and medium is null
    union all
    select touch_id, 'without_campaign' as problem, channel as subject
    from touch
    where
        channel_rule is not null and campaign is null
        and channel in (select channel from touch where campaign is not null)
    union all
    select touch_id, 'touches_without_spend' as problem, channel || ': ' || campaign as subject
    from touch
    where
        channel_rule is not null and campaign is not null
        and channel in (select channel from bought_channel)
        and campaign not in (select campaign from bought)
),

won as (
    select milestone, milestone_id
    from events.milestone
    where state = 'live' and suppressed_by is null and milestone in ('customer_won', 'customer_expanded')
),

found as (
    select
        problem,
        subject,
        null::varchar as model,
        null::varchar as scope,
        null::varchar as currency,
        count(*) as touches,
        null::bigint as amount_minor,
        null::varchar as home_currency,
        null::bigint as amount_home_minor
    from flagged
    group by problem, subject
    union all
    select
        flagged.problem,
        flagged.subject,
        credit.model,
        credit.scope,
        credit.currency,
        null as touches,
        sum(credit.credit)::bigint as amount_minor,
        credit.home_currency,
        sum(credit.credit_home)::bigint as amount_home_minor
    from attribution.credit as credit
    join won on won.milestone = credit.milestone and won.milestone_id = credit.milestone_id
    join flagged on flagged.touch_id = credit.touch_id
    where credit.superseded_at is null and credit.measure = 'amount'
    group by all
    union all
    select
        'spend_without_touches' as problem,
        platform || ': ' || coalesce(campaign_name, campaign_id, '(none)') as subject,
        null as model,
        null as scope,
        currency,
        null as touches,
        sum(amount_minor)::bigint as amount_minor,
        case when amount_home_minor is not null then home_currency end as home_currency,
        sum(amount_home_minor)::bigint as amount_home_minor
    from marts.spend
    where match = 'none' and is_counted
    group by all
)

select
    found.problem,
    found.subject,
    found.model,
    found.scope,
    found.currency,
    found.touches,
    found.amount_minor,
    found.amount_minor::decimal(19, 0) * currency.unit as amount,
    found.home_currency,
    found.amount_home_minor,
    found.amount_home_minor::decimal(19, 0) * home.unit as amount_home,
    case found.problem
        when 'unknown_medium' then 'tag the links with a medium of touches.channels, or add a rule for it to the mapping'
        when 'untagged' then 'tag the links with utm_source, utm_medium and utm_campaign'
        when 'without_campaign' then 'tag the links with utm_campaign'
        when 'spend_without_touches' then 'give the ads'' links the campaign''s name or id as utm_campaign'
        else 'drop the campaign''s spend into inbox/spend, or name its spellings under touches.campaigns'
    end as what_to_do
from found
left join staging.currency as currency on currency.currency = found.currency
left join staging.currency as home on home.currency = found.home_currency
