-- What is known now adds up to all current credit, per outcome, model, scope, measure and currency, in the home currency too.
-- @incremental: milestone, milestone_id
with expected as (
    select
        milestone, milestone_id, model, scope, measure, nullif(currency, '') as currency, home_currency,
        sum(credit)::bigint as credit, sum(credit_home)::bigint as credit_home
    from attribution.credit
    where superseded_at is null
    group by all
),

shown as (
    select
        milestone, milestone_id, model, scope, measure, currency, home_currency, sum(credit_minor)::bigint as credit,
        sum(credit_home_minor)::bigint as credit_home
    from marts.credit_history
    where superseded_at is null
    group by all
)

select 'missing' as what, * from (select * from expected except select * from shown)
union all
select 'not in attribution.credit', * from (select * from shown except select * from expected)
