-- Per figure the deltas add up to what is known now, and each begins where the one before ended.
with known as (
    select
        'own' as basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel,
        sum(credit_minor)::bigint as figure
    from marts.credit_history
    where superseded_at is null
    group by all
    having sum(credit_minor) <> 0
    union all
    select
        'home', booked_month, milestone, milestone_id, model, scope, measure, home_currency, channel,
        sum(credit_home_minor)::bigint
    from marts.credit_history
    where superseded_at is null and credit_home_minor is not null
    group by all
    having sum(credit_home_minor) <> 0
),

summed as (
    select
        basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel,
        sum(delta_minor)::bigint as figure
    from marts.restatement
    group by all
    having sum(delta_minor) <> 0
),

chained as (
    select
        *,
        lag(new_minor, 1, 0) over (
            partition by basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel
            order by recorded_at
        ) as new_before
    from marts.restatement
)

select 'not told' as what, * from (select * from known except select * from summed)
union all
select 'told, not so', * from (select * from summed except select * from known)
union all
select
    'no chain', basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel, delta_minor
from chained
where old_minor <> new_before or old_minor + delta_minor <> new_minor
