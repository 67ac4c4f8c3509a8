-- Where a row is converted its wins are those of events.home_value, it is all of the row or nothing, in the home currency
-- itself it is the amounts, and the decimal columns are the minor units exactly.
with won as (
    select
        fact.account_id, fact.currency, sum(coalesce(value.amount_home, 0))::bigint as amount,
        sum(coalesce(value.arr_home, 0))::bigint as arr
    from events.milestone as fact
    join events.home_value as value on value.milestone = fact.milestone and value.milestone_id = fact.milestone_id
    where
        fact.state = 'live' and fact.suppressed_by is null and fact.account_id is not null
        and fact.milestone in ('customer_won', 'customer_expanded')
    group by fact.account_id, fact.currency
)

select value.account_id, value.currency, value.won_amount_home_minor, won.amount, value.won_arr_home_minor, won.arr
from marts.account_value as value
left join won on won.account_id = value.account_id and won.currency = value.currency
left join staging.currency as home on home.currency = value.home_currency
where
    (value.home_currency is not null and coalesce(won.amount, 0) is distinct from value.won_amount_home_minor)
    or (value.home_currency is not null and coalesce(won.arr, 0) is distinct from value.won_arr_home_minor)
    or (value.home_currency is null) <> (value.open_amount_home_minor is null)
    or (value.home_currency = value.currency and value.open_amount_home_minor is distinct from value.open_amount_minor)
    or (value.home_currency = value.currency and value.won_amount_home_minor is distinct from value.won_amount_minor)
    or value.won_amount_home is distinct from value.won_amount_home_minor::decimal(19, 0) * home.unit
    or value.open_amount_home is distinct from value.open_amount_home_minor::decimal(19, 0) * home.unit
    or value.won_arr_home is distinct from value.won_arr_home_minor::decimal(19, 0) * home.unit
