-- Per month, outcome, model, scope, measure, currency, channel and campaign the rows add up to marts.revenue_attribution.
with opened as (
    select
        booked_on, milestone, subtype, model, scope, measure, currency, channel, unattributed_reason, source, medium, campaign,
        sum(credit_minor)::bigint as credit, sum(credit_home_minor)::bigint as credit_home
    from marts.deal_attribution
    group by all
),

summed as (
    select
        booked_on, milestone, subtype, model, scope, measure, currency, channel, unattributed_reason, source, medium, campaign,
        sum(credit_minor)::bigint as credit, sum(credit_home_minor)::bigint as credit_home
    from marts.revenue_attribution
    group by all
),

differs as (
    select 'missing' as what, * from (
        select * from summed where credit <> 0 or coalesce(credit_home, 0) <> 0 except select * from opened
    )
    union all
    select 'not in marts.revenue_attribution', * from (
        select * from opened where credit <> 0 or coalesce(credit_home, 0) <> 0 except select * from summed
    )
)

select
    differs.*,
    (
        select string_agg(distinct deal.deal_id, ', ' order by deal.deal_id)
        from marts.deal_attribution as deal
        where
            deal.booked_on = differs.booked_on and deal.milestone = differs.milestone and deal.model = differs.model
            and deal.scope = differs.scope and deal.measure = differs.measure and deal.channel = differs.channel
    ) as deal_id
from differs
