-- Campaigns add up to the total, and totals to what was booked and spent: revenue by marts.revenue_attribution, spend by
-- marts.spend. Cohorts of all months add up to the booked revenue of accounts that have entered.
with home as (
    select min(company_currency) as currency from staging.account
),

level as (
    select
        basis, month, model, scope, measure, currency,
        sum(revenue_minor) filter (where level = 'campaign')::bigint as campaigns,
        sum(revenue_minor) filter (where level = 'total')::bigint as total,
        coalesce(sum(spend_minor) filter (where level = 'campaign'), 0)::bigint as campaigns_spent,
        coalesce(sum(spend_minor) filter (where level = 'total'), 0)::bigint as spent,
        sum(new_customers) filter (where level = 'campaign') as campaigns_won,
        sum(new_customers) filter (where level = 'total') as won
    from marts.campaign_roi
    group by basis, month, model, scope, measure, currency
),

booked as (
    select
        credit.booked_month as month, credit.model, credit.scope, credit.measure,
        coalesce(home.currency, credit.currency) as currency,
        sum(case when home.currency is null then credit.credit_minor else credit.credit_home_minor end)::bigint as revenue
    from marts.revenue_attribution as credit
    cross join home
    where credit.milestone in ('customer_won', 'customer_expanded') and credit.measure <> 'count'
    group by all
),

spent as (
    select
        spend.spent_month as month, coalesce(home.currency, spend.currency) as currency,
        sum(case when home.currency is null then spend.amount_minor else spend.amount_home_minor end)::bigint as spend
    from marts.spend as spend
    cross join home
    where spend.is_counted
    group by all
)

select 'campaigns and total differ' as what, level.month, level.currency, level.model, level.campaigns, level.total
from level
where
    level.campaigns is distinct from level.total or level.campaigns_spent <> level.spent
    or level.campaigns_won is distinct from level.won
union all
select 'not what was booked', booked.month, booked.currency, booked.model, booked.revenue, level.total
from booked
left join level
    on
        level.basis = 'booking' and level.month = booked.month and level.model = booked.model
        and level.scope = booked.scope and level.measure = booked.measure
        and level.currency is not distinct from booked.currency
where booked.revenue is distinct from level.total and booked.revenue <> 0
union all
select 'not what was spent', spent.month, spent.currency, null, spent.spend, max(level.spent)
from spent
left join level on level.month = spent.month and level.currency is not distinct from spent.currency
group by spent.month, spent.currency, spent.spend
having coalesce(spent.spend, 0) <> coalesce(max(level.spent), 0) and count(*) filter (where level.month is not null) > 0
