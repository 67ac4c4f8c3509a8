-- Per figure the deltas add up to what is known now, and each begins where the one before ended.
-- @incremental: milestone, milestone_id
with told as (
    select
        'own' as basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel,
        credit_minor as minor
    from marts.credit_history
    where superseded_at is null
    union all
    select
        'home', booked_month, milestone, milestone_id, model, scope, measure, home_currency, channel,
        credit_home_minor
    from marts.credit_history
    where superseded_at is null and credit_home_minor is not null
    union all
    select
        basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel, -delta_minor
    from marts.restatement
),

chained as (
    select
        *,
        lag(new_minor, 1, 0) over (
            partition by hash(basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel)
            order by recorded_at
        ) as new_before
    from marts.restatement
)

select
    'known now, less what is told' as what, basis, booked_month, milestone, milestone_id, model, scope, measure,
    currency, channel, sum(minor)::bigint as minor
from told
group by all
having sum(minor) <> 0
union all
select
    'no chain', basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel, delta_minor
from chained
where old_minor <> new_before or old_minor + delta_minor <> new_minor
