-- Every opportunity and every win of a deal that is no renewal is counted once, in its month.
with expected as (
    select
        booked_month as month,
        count(*) filter (where milestone = 'opportunity_created') as opportunities,
        count(*) filter (where milestone in ('customer_won', 'customer_expanded')) as won
    from marts.milestone
    where is_counted and deal_id is not null and subtype is distinct from 'renewal'
    group by booked_month
),

shown as (
    select month, sum(opportunities)::bigint as opportunities, sum(won)::bigint as won
    from marts.pipeline_velocity
    group by month
)

select 'missing' as what, * from (
    select * from expected where opportunities + won > 0 except select * from shown
)
union all
select 'not in marts.milestone', * from (
    select * from shown where opportunities + won > 0 except select * from expected
)
