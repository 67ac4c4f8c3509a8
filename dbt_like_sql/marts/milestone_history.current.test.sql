-- What is known now is marts.milestone, row by row and to the last digit.
-- @incremental: milestone, milestone_id
with known as (
    select * exclude (recorded_at, superseded_at)
    from marts.milestone_history
    where superseded_at is null
)

select case when sum(side) > 0 then 'not known' else 'known, not so' end as what, * exclude (side)
from (select 1 as side, * from marts.milestone union all select -1, * from known)
group by all
having sum(side) <> 0
