-- marts.milestone holds every row of events.milestone with the same state, day and money, and nothing else.
-- @incremental: milestone, milestone_id
with derived as (
    select
        milestone, milestone_id, state, suppressed_by, booked_on, account_id, deal_id::varchar as deal_id, currency,
        case when currency_at_event is not distinct from currency then amount_at_event end,
        case when currency_at_event is not distinct from currency then mrr_at_event end,
        case when currency_at_event is not distinct from currency then arr_at_event end,
        case when currency_at_event is not distinct from currency then tcv_at_event end,
        amount_current, mrr_current, arr_current, tcv_current, mrr_new, arr_new
    from events.milestone
),

shown as (
    select
        milestone, milestone_id, state, suppressed_by, booked_on, account_id, deal_id, currency,
        amount_at_event_minor, mrr_at_event_minor, arr_at_event_minor, tcv_at_event_minor,
        amount_current_minor, mrr_current_minor, arr_current_minor, tcv_current_minor, mrr_new_minor, arr_new_minor
    from marts.milestone
)

select case when sum(side) > 0 then 'missing' else 'not in events.milestone' end as what, * exclude (side)
from (select 1 as side, * from derived union all select -1, * from shown)
group by all
having sum(side) <> 0
