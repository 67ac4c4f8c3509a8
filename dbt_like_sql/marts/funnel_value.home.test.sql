-- Per milestone and home currency, what is converted adds up to events.home_value, where every fact has a rate; the decimal
-- columns are the minor units exactly.
with expected as (
    select
        fact.milestone, sum(value.amount_home)::bigint as amount, sum(value.mrr_home)::bigint as mrr,
        sum(value.arr_home)::bigint as arr, sum(value.tcv_home)::bigint as tcv
    from events.milestone as fact
    left join events.home_value as value on value.milestone = fact.milestone and value.milestone_id = fact.milestone_id
    where fact.state = 'live' and fact.suppressed_by is null and (fact.deal_id is not null or fact.subject = 'account')
    group by fact.milestone
    having count(*) filter (where value.milestone_id is not null and value.rate is null) = 0
),

shown as (
    select
        milestone, sum(amount_home_minor)::bigint as amount, sum(mrr_home_minor)::bigint as mrr,
        sum(arr_home_minor)::bigint as arr, sum(tcv_home_minor)::bigint as tcv
    from marts.funnel_value
    group by milestone
)

select expected.milestone, shown.amount, expected.amount as expected_amount
from expected
left join shown using (milestone)
where (expected.amount, expected.mrr, expected.arr, expected.tcv)
    is distinct from (shown.amount, shown.mrr, shown.arr, shown.tcv)
union all
select value.milestone, value.amount_home_minor, value.amount_minor
from marts.funnel_value as value
left join staging.currency as home on home.currency = value.home_currency
where
    value.amount_home is distinct from value.amount_home_minor::decimal(19, 0) * home.unit
    or value.mrr_home is distinct from value.mrr_home_minor::decimal(19, 0) * home.unit
    or value.arr_home is distinct from value.arr_home_minor::decimal(19, 0) * home.unit
    or value.tcv_home is distinct from value.tcv_home_minor::decimal(19, 0) * home.unit
    or (value.home_currency = value.currency and value.amount_home_minor is distinct from value.amount_minor)
