-- Per model, scope, measure and currency the table adds up to all current credit, in the home currency too.
with expected as (
    select
        model, scope, measure, nullif(currency, '') as currency, home_currency, sum(credit)::bigint as credit,
        sum(credit_home)::bigint as credit_home
    from attribution.credit
    where superseded_at is null
    group by all
),

shown as (
    select
        model, scope, measure, currency, home_currency, sum(credit_minor)::bigint as credit,
        sum(credit_home_minor)::bigint as credit_home
    from marts.revenue_attribution
    group by all
)

select 'missing' as what, * from (select * from expected except select * from shown)
union all
select 'not in attribution.credit', * from (select * from shown except select * from expected)
