-- Over all months they are posted to, its rows add up to what marts.credit_history knows now: what is posted is what is so.
with known as (
    select
        booked_on, milestone, subtype, model, scope, measure, currency, channel, unattributed_reason, source, medium,
        campaign, home_currency,
        sum(credit_minor)::bigint as credit_minor,
        sum(credit_home_minor)::bigint as credit_home_minor
    from marts.credit_history
    where superseded_at is null
    group by all
    having sum(credit_minor) <> 0 or sum(credit_home_minor) <> 0
),

shown as (
    select
        booked_on, milestone, subtype, model, scope, measure, currency, channel, unattributed_reason, source, medium,
        campaign, home_currency,
        sum(credit_minor)::bigint as credit_minor,
        sum(credit_home_minor)::bigint as credit_home_minor
    from marts.revenue_attribution
    group by all
    having sum(credit_minor) <> 0 or sum(credit_home_minor) <> 0
)

select 'not shown' as what, * from (select * from known except select * from shown)
union all
select 'shown, not known', * from (select * from shown except select * from known)
