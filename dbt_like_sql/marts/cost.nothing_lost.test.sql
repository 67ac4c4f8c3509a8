-- marts.cost has every row of raw.cost once, with its amount in both units and as events.home_spend converts it.
with told as (
    select
        cost.month, cost.kind, cost.currency, cost.amount as amount_minor,
        cost.amount::decimal(19, 0) * currency.unit as amount, value.home_currency, value.amount_home as amount_home_minor
    from raw.cost as cost
    left join staging.currency as currency on currency.currency = cost.currency
    left join events.home_spend as value
        on
            value.period = 'month' and value.starts_on = cost.month
            and value.currency = cost.currency and value.amount = cost.amount
),

shown as (
    select month, kind, currency, amount_minor, amount, home_currency, amount_home_minor
    from marts.cost
)

select case when sum(side) > 0 then 'told, not shown' else 'shown, not told' end as what, * exclude (side)
from (select 1 as side, * from told union all select -1, * from shown)
group by all
having sum(side) <> 0
union all
select
    'not exact', cost.month, cost.kind, cost.currency, cost.amount_minor, cost.amount, cost.home_currency,
    cost.amount_home_minor
from marts.cost as cost
left join staging.currency as home on home.currency = cost.home_currency
where
    cost.amount_home is distinct from cost.amount_home_minor::decimal(19, 0) * home.unit
    or (cost.currency = cost.home_currency and cost.amount_home_minor is distinct from cost.amount_minor)
