-- One row per day, milestone, subtype, channel of the deal's or account's entry touch, and currency: how many facts and
-- what they are worth now. The whole value stands at the channel that brought the account in; for split credit see
-- marts.revenue_attribution. Only facts about deals and accounts have rows here. Reversed facts and internal or test
-- traffic (suppressed milestones) do not count. Never add currencies up; a null sum means that no fact had the value.
--
-- @audience: finance, marketing
-- @column booked_on [not_null]: day in the account's time zone: close date of wins, else the day it happened
-- @column booked_month [not_null]: first day of that month
-- @column milestone [not_null]: what happened
-- @column subtype: new, expansion or renewal, by the deal's pipeline; null without a deal
-- @column entry_channel [not_null]: channel of the entry touch of the deal, else of the account, or Unattributed;
--   not what the model first_touch credits, which looks at the window of one outcome
-- @column currency: ISO 4217 code; null where no fact of the row has an amount
-- @column milestones [not_null] [>= 1]: how many facts
-- @column valued [not_null] [>= 0]: how many of them have an amount
-- @column amount_minor: sum of the deal amounts now, minor units
-- @column mrr_minor: sum of the new monthly recurring revenue (of renewals only the change), minor units
-- @column arr_minor: sum of the new annual recurring revenue (of renewals only the change), minor units
-- @column tcv_minor: sum of the contract values now, minor units
-- @column amount: sum of the deal amounts now
-- @column mrr: sum of the new monthly recurring revenue
-- @column arr: sum of the new annual recurring revenue
-- @column tcv: sum of the contract values now
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null where no fact of the row has a value, and
--   where one of them has no rate (marts.known_gaps): then no sum of the row is converted
-- @column amount_home_minor: sum of the deal amounts now in the home currency, minor units, each converted by its own rate
-- @column mrr_home_minor: sum of the new monthly recurring revenue in the home currency, minor units
-- @column arr_home_minor: sum of the new annual recurring revenue in the home currency, minor units
-- @column tcv_home_minor: sum of the contract values now in the home currency, minor units
-- @column amount_home: sum of the deal amounts now in the home currency
-- @column mrr_home: sum of the new monthly recurring revenue in the home currency
-- @column arr_home: sum of the new annual recurring revenue in the home currency
-- @column tcv_home: sum of the contract values now in the home currency
-- @unique: booked_on, milestone, subtype, entry_channel, currency
with counted as (
    select *
    from marts.milestone
    where is_counted and (deal_id is not null or subject = 'account')
),

placed as (
    select
        counted.*,
        coalesce(deal.entry_channel, account.entry_channel) as entry_channel,
        coalesce(amount_current_minor, mrr_new_minor, arr_new_minor, tcv_current_minor) is not null as is_valued
    from counted
    left join staging.funnel_entry as deal on deal.subject = 'deal' and deal.subject_id = counted.deal_id
    left join staging.funnel_entry as account
        on account.subject = 'account' and account.subject_id = counted.account_id
),

summed as (
    select
        booked_on,
        booked_month,
        milestone,
        subtype,
        entry_channel,
        currency,
        count(*) as milestones,
        count(amount_current_minor) as valued,
        sum(amount_current_minor)::bigint as amount_minor,
        sum(mrr_new_minor)::bigint as mrr_minor,
        sum(arr_new_minor)::bigint as arr_minor,
        sum(tcv_current_minor)::bigint as tcv_minor,
        case when bool_and(rate is not null or not is_valued) then max(home_currency) end as home_currency,
        sum(amount_home_minor)::bigint as amount_home_minor,
        sum(mrr_home_minor)::bigint as mrr_home_minor,
        sum(arr_home_minor)::bigint as arr_home_minor,
        sum(tcv_home_minor)::bigint as tcv_home_minor
    from placed
    group by booked_on, booked_month, milestone, subtype, entry_channel, currency
)

select
    summed.booked_on,
    summed.booked_month,
    summed.milestone,
    summed.subtype,
    summed.entry_channel,
    summed.currency,
    summed.milestones,
    summed.valued,
    summed.amount_minor,
    summed.mrr_minor,
    summed.arr_minor,
    summed.tcv_minor,
    summed.amount_minor::decimal(19, 0) * currency.unit as amount,
    summed.mrr_minor::decimal(19, 0) * currency.unit as mrr,
    summed.arr_minor::decimal(19, 0) * currency.unit as arr,
    summed.tcv_minor::decimal(19, 0) * currency.unit as tcv,
    summed.home_currency,
    case when summed.home_currency is not null then summed.amount_home_minor end as amount_home_minor,
    case when summed.home_currency is not null then summed.mrr_home_minor end as mrr_home_minor,
    case when summed.home_currency is not null then summed.arr_home_minor end as arr_home_minor,
    case when summed.home_currency is not null then summed.tcv_home_minor end as tcv_home_minor,
    summed.amount_home_minor::decimal(19, 0) * home.unit as amount_home,
    summed.mrr_home_minor::decimal(19, 0) * home.unit as mrr_home,
    summed.arr_home_minor::decimal(19, 0) * home.unit as arr_home,
    summed.tcv_home_minor::decimal(19, 0) * home.unit as tcv_home
from summed
left join staging.currency as currency on currency.currency = summed.currency
left join staging.currency as home on home.currency = summed.home_currency
