-- marts.revenue_movement holds every row of events.revenue with its day and money, and nothing else; each is of a win.
with derived as (
    select milestone, milestone_id, booked_on, account_id, deal_id::varchar as deal_id, currency, amount, mrr, arr, tcv
    from events.revenue
),

shown as (
    select milestone, milestone_id, booked_on, account_id, deal_id, currency, amount_minor, mrr_minor, arr_minor, tcv_minor
    from marts.revenue_movement
)

select what, milestone, milestone_id
from (
    select
        case when sum(side) > 0 then 'missing' else 'not in events.revenue' end as what, * exclude (side)
    from (select 1 as side, * from derived union all select -1, * from shown)
    group by all
    having sum(side) <> 0
)
union all
select 'without a win', change.milestone, change.milestone_id
from events.revenue as change
anti join events.milestone as win
    on win.milestone = change.of_milestone and win.milestone_id = change.of_milestone_id
