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
-- @unique: account_id, currency
with amount as (
    select
        account_id,
        currency,
        1 as deals_open,
        0 as wins,
        amount_minor as open_amount,
        coalesce(weighted_minor, 0) as open_weighted,
        0 as won_amount,
        0 as won_arr,
        0 as renewed_amount
    from marts.pipeline
    where status = 'open' and not is_suppressed and amount_minor is not null and account_id is not null
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
        case when subtype = 'renewal' then coalesce(amount_current_minor, 0) else 0 end
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
        sum(renewed_amount)::bigint as renewed_amount_minor
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
    summed.won_arr_minor::decimal(19, 0) * currency.unit as won_arr
from summed
left join identity.account as account on account.account_id = summed.account_id
left join staging.currency as currency on currency.currency = summed.currency
