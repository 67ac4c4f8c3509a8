-- Each month adds up, opens with what the one before closed with, and the last one closes with all movements there are.
with ordered as (
    select
        *,
        lag(closing_minor, 1, 0) over (partition by basis, currency order by month) as closed_before,
        lead(month) over (partition by basis, currency order by month) is null as is_last
    from marts.arr_bridge_restated
),

moved as (
    select 'own' as basis, currency, sum(arr)::bigint as arr
    from events.revenue
    group by currency
    union all
    select 'home', value.home_currency, sum(value.arr_home)::bigint
    from events.revenue as change
    join events.home_value as value on value.milestone = change.milestone and value.milestone_id = change.milestone_id
    group by value.home_currency
)

select ordered.month, ordered.basis, ordered.currency, ordered.closing_minor, moved.arr
from ordered
left join moved on moved.basis = ordered.basis and moved.currency = ordered.currency
where
    opening_minor + new_minor + expansion_minor - contraction_minor - churn_minor <> closing_minor
    or opening_minor <> closed_before
    or (is_last and closing_minor is distinct from moved.arr)
