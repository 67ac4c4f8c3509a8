-- Every touch of an account and every fact of it that counts is one step, and the steps are numbered without a gap.
-- @incremental: account_id
with expected as (
    select account_id, touch_id as id from attribution.touch where account_id is not null
    union all
    select account_id, milestone || milestone_id
    from events.milestone
    where state = 'live' and suppressed_by is null and account_id is not null
),

shown as (
    select account_id, coalesce(touch_id, what || milestone_id) as id from marts.account_journey
)

select case when sum(side) > 0 then 'missing' else 'no such step' end as what, account_id, id
from (select 1 as side, * from expected union all select -1, * from shown)
group by all
having sum(side) <> 0
union all
select 'numbered with a gap', account_id, max(step)::varchar
from marts.account_journey
group by account_id
having max(step) <> count(*)
