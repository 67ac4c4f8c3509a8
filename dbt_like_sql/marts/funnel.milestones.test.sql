-- Per subject, step and day the facts counted are those of events.milestone without renewals, unless one is the
-- account's first win; a milestone that is no step fails.
with fact as (
    select milestone, booked_on, unnest([
        case
            when person_id is not null and milestone in ('lead_captured', 'qualified_lead', 'sales_qualified_lead')
                then 'person'
        end,
        case when deal_id is not null then 'deal' end,
        case when account_id is not null then 'account' end
    ]) as subject
    from events.milestone as told
    where
        state = 'live'
        and suppressed_by is null
        and case
            when subtype is null or subtype <> 'renewal' or milestone = 'customer_won' then true
            when milestone = 'customer_expanded' then false
            else exists (
                select 1
                from events.milestone as won
                where
                    won.deal_id = told.deal_id
                    and won.milestone = 'customer_won'
                    and won.subtype = 'renewal'
                    and won.state = 'live'
                    and won.suppressed_by is null
            )
        end
),

expected as (
    select subject, milestone as step, booked_on, count(*) as milestones
    from fact
    where subject is not null
    group by all
),

shown as (
    select subject, step, booked_on, sum(milestones)::bigint as milestones
    from marts.funnel
    group by all
    having sum(milestones) > 0
)

select 'missing' as what, * from (select * from expected except select * from shown)
union all
select 'not in events.milestone', * from (select * from shown except select * from expected)
