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
-- @unique: booked_on, milestone, subtype, entry_channel, currency
with counted as (
    select *
    from marts.milestone
    where is_counted and (deal_id is not null or subject = 'account')
),

placed as (
    select counted.*, coalesce(deal.entry_channel, account.entry_channel) as entry_channel
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
        sum(tcv_current_minor)::bigint as tcv_minor
    from placed
    group by booked_on, booked_month, milestone, subtype, entry_channel, currency
)

select
    summed.*,
    summed.amount_minor::decimal(19, 0) * currency.unit as amount,
    summed.mrr_minor::decimal(19, 0) * currency.unit as mrr,
    summed.arr_minor::decimal(19, 0) * currency.unit as arr,
    summed.tcv_minor::decimal(19, 0) * currency.unit as tcv
from summed
left join staging.currency as currency on currency.currency = summed.currency
