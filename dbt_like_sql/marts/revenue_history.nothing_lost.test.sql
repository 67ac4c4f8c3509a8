-- Every movement of revenue is known now, once, with its amount.
with known as (
    select milestone, milestone_id, booked_on, currency, arr_minor as arr
    from marts.revenue_history
    where superseded_at is null
),

moved as (
    select milestone, milestone_id, booked_on, currency, arr
    from events.revenue
)

select case when sum(side) > 0 then 'not known' else 'known, not so' end as what, * exclude (side)
from (select 1 as side, * from moved union all select -1, * from known)
group by all
having sum(side) <> 0
