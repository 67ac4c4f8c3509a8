-- marts.revenue_movement holds every row of events.revenue with its day and money, and nothing else; each is of a win.
with derived as (
    select milestone, milestone_id, booked_on, account_id, deal_id::varchar as deal_id, currency, amount, mrr, arr, tcv
    from events.revenue
),

shown as (
    select milestone, milestone_id, booked_on, account_id, deal_id, currency, amount_minor, mrr_minor, arr_minor, tcv_minor
    from marts.revenue_movement
)

select 'missing' as what, milestone, milestone_id from (select * from derived except all select * from shown)
union all
select 'not in events.revenue', milestone, milestone_id from (select * from shown except all select * from derived)
union all
select 'without a win', change.milestone, change.milestone_id
from events.revenue as change
anti join events.milestone as win
    on win.milestone = change.of_milestone and win.milestone_id = change.of_milestone_id
