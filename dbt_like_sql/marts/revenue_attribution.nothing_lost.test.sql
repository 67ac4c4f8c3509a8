-- Per model, scope, measure and currency the table adds up to all current credit.
with expected as (
    select model, scope, measure, nullif(currency, '') as currency, sum(credit)::bigint as credit
    from attribution.credit
    where superseded_at is null
    group by all
),

shown as (
    select model, scope, measure, currency, sum(credit_minor)::bigint as credit
    from marts.revenue_attribution
    group by all
)

select 'missing' as what, * from (select * from expected except select * from shown)
union all
select 'not in attribution.credit', * from (select * from shown except select * from expected)
