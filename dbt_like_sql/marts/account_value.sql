-- One row per account and currency: what its open deals are worth now and what it has bought. Internal and test deals
-- (suppressed milestones) and reversed wins do not count. Never add currencies up.
--
-- @audience: finance
-- @column account_id [not_null]: company:ID, domain:NAME where no company has it,
--   or deal:ID for a deal without company
-- @column account_name: company name; null for domain:NAME and deal:ID
-- @column currency [not_null]: ISO 4217 code
-- @column deals_open [not_null] [>= 0]: open deals with an amount in this currency
-- @column wins [not_null] [>= 0]: live wins with any value in this currency, first ones, expansions and renewals
-- @column open_amount_minor [not_null]: sum of the open deals' amounts, minor units
-- @column open_weighted_minor [not_null]: the same weighted by win probability, minor units
-- @column won_amount_minor [not_null]: sum of the won deals' amounts, minor units
-- @column won_arr_minor [not_null]: sum of the new ARR of the won deals (of renewals only the change), minor units
-- @column renewed_amount_minor [not_null]: the part of won_amount_minor that is renewals, minor units
-- @column open_amount [not_null]: sum of the open deals' amounts
-- @column won_amount [not_null]: sum of the won deals' amounts
-- @column won_arr [not_null]: sum of the new ARR of the won deals
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null where an amount of the row has no rate
--   (marts.known_gaps), and of an open deal in another currency in a pipeline the mapping does not track
-- @column open_amount_home_minor: sum of the open deals' amounts in the home currency, minor units, each by the rate of its
--   opportunity
-- @column open_weighted_home_minor: the same weighted by win probability, minor units
-- @column won_amount_home_minor: sum of the won deals' amounts in the home currency, minor units, each by its own rate
-- @column won_arr_home_minor: sum of the new ARR of the won deals in the home currency, minor units
-- @column renewed_amount_home_minor: the part of won_amount_home_minor that is renewals, minor units
-- @column open_amount_home: sum of the open deals' amounts in the home currency
-- @column won_amount_home: sum of the won deals' amounts in the home currency
-- @column won_arr_home: sum of the new ARR of the won deals in the home currency
-- @unique: account_id, currency
with home as (
    select min(company_currency) as currency
    from staging.account
),

opportunity as (
    select deal_id, currency, amount_current_minor, any_value(amount_home_minor) as amount_home_minor
    from marts.milestone
    where milestone = 'opportunity_created' and state = 'live'
    group by all
),

open_deal as (
    select
        deal.account_id,
        deal.currency,
        deal.amount_minor,
        deal.weighted_minor,
        deal.probability,
        case
            when deal.currency = home.currency then deal.amount_minor else opportunity.amount_home_minor
        end as amount_home
    from marts.pipeline as deal
    cross join home
    left join opportunity
        on
            opportunity.deal_id = deal.deal_id
            and opportunity.currency = deal.currency
            and opportunity.amount_current_minor = deal.amount_minor
    where
        deal.status = 'open' and not deal.is_suppressed and deal.amount_minor is not null
        and deal.account_id is not null
),

amount as (
    select
        account_id,
        currency,
        1 as deals_open,
        0 as wins,
        amount_minor as open_amount,
        coalesce(weighted_minor, 0) as open_weighted,
        0 as won_amount,
        0 as won_arr,
        0 as renewed_amount,
        amount_home is not null as is_converted,
        amount_home as open_home,
        coalesce(round(amount_home::decimal(19, 0) * probability)::bigint, 0) as open_weighted_home,
        0 as won_home,
        0 as won_arr_home,
        0 as renewed_home
    from open_deal
    union all
    select
        account_id,
        currency,
        0,
        1,
        0,
        0,
        coalesce(amount_current_minor, 0),
        coalesce(arr_new_minor, 0),
        case when subtype = 'renewal' then coalesce(amount_current_minor, 0) else 0 end,
        rate is not null,
        0,
        0,
        coalesce(amount_home_minor, 0),
        coalesce(arr_home_minor, 0),
        case when subtype = 'renewal' then coalesce(amount_home_minor, 0) else 0 end
    from marts.milestone
    where
        is_counted
        and milestone in ('customer_won', 'customer_expanded')
        and account_id is not null
        and coalesce(amount_current_minor, mrr_current_minor, arr_current_minor, tcv_current_minor) is not null
),

summed as (
    select
        account_id,
        currency,
        sum(deals_open)::bigint as deals_open,
        sum(wins)::bigint as wins,
        sum(open_amount)::bigint as open_amount_minor,
        sum(open_weighted)::bigint as open_weighted_minor,
        sum(won_amount)::bigint as won_amount_minor,
        sum(won_arr)::bigint as won_arr_minor,
        sum(renewed_amount)::bigint as renewed_amount_minor,
        bool_and(is_converted) as is_converted,
        sum(open_home)::bigint as open_home,
        sum(open_weighted_home)::bigint as open_weighted_home,
        sum(won_home)::bigint as won_home,
        sum(won_arr_home)::bigint as won_arr_home,
        sum(renewed_home)::bigint as renewed_home
    from amount
    group by account_id, currency
)

select
    summed.account_id,
    case when account.company_id is not null then account.name end as account_name,
    summed.currency,
    summed.deals_open,
    summed.wins,
    summed.open_amount_minor,
    summed.open_weighted_minor,
    summed.won_amount_minor,
    summed.won_arr_minor,
    summed.renewed_amount_minor,
    summed.open_amount_minor::decimal(19, 0) * currency.unit as open_amount,
    summed.won_amount_minor::decimal(19, 0) * currency.unit as won_amount,
    summed.won_arr_minor::decimal(19, 0) * currency.unit as won_arr,
    home.currency as home_currency,
    case when home.currency is not null then summed.open_home end as open_amount_home_minor,
    case when home.currency is not null then summed.open_weighted_home end as open_weighted_home_minor,
    case when home.currency is not null then summed.won_home end as won_amount_home_minor,
    case when home.currency is not null then summed.won_arr_home end as won_arr_home_minor,
    case when home.currency is not null then summed.renewed_home end as renewed_amount_home_minor,
    summed.open_home::decimal(19, 0) * unit.unit as open_amount_home,
    summed.won_home::decimal(19, 0) * unit.unit as won_amount_home,
    summed.won_arr_home::decimal(19, 0) * unit.unit as won_arr_home
from summed
left join home on summed.is_converted
left join staging.currency as unit on unit.currency = home.currency
left join identity.account as account on account.account_id = summed.account_id
left join staging.currency as currency on currency.currency = summed.currency
