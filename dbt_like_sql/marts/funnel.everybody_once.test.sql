-- Every person, deal and account with a milestone of the funnel stands at the head of its funnel exactly once.
with counted as (
    select * from staging.funnel_fact
),

expected as (
    select 'person' as subject, count(distinct person_id) as subjects from counted
    union all
    select 'deal', count(distinct deal_id) from counted
    union all
    select 'account', count(distinct account_id) from counted
),

head as (
    select subject, sum(reached)::bigint as subjects
    from marts.funnel
    where step = case subject when 'deal' then 'opportunity_created' else 'lead_captured' end
    group by subject
)

select expected.subject, expected.subjects as expected, coalesce(head.subjects, 0) as counted
from expected
left join head on head.subject = expected.subject
where expected.subjects <> coalesce(head.subjects, 0)
