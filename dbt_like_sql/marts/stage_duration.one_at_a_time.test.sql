-- A deal is in one stage at a time: it has left each before it comes into the next, and stands in at most one.
select deal_id, stage_id, entered_at, left_at, next_at
from (
    select *, lead(entered_at) over (partition by deal_id order by entered_at, left_at nulls last, stage_id) as next_at
    from marts.stage_duration
)
where next_at is not null and (left_at is null or left_at > next_at)
