-- Every won deal is worth the same in HubSpot, in the warehouse, in the credit of every model and in the marts.
with win as (
    select
        milestone, milestone_id, deal_id::varchar as deal_id, currency, amount_current as amount,
        row_number() over (partition by deal_id order by observed_at desc, milestone_id desc) = 1 as is_last
    from events.milestone
    where
        milestone in ('customer_won', 'customer_expanded') and state = 'live' and suppressed_by is null
        and deal_id is not null
),

credited as (
    select milestone, milestone_id, model, scope, sum(credit)::bigint as amount
    from attribution.credit
    where superseded_at is null and measure = 'amount'
    group by all
),

shown as (
    select milestone, milestone_id, model, scope, sum(credit_minor)::bigint as amount
    from marts.deal_attribution
    where measure = 'amount'
    group by all
)

select win.deal_id, 'HubSpot' as place, null as model, win.amount, deal.amount_minor as other
from win
join staging.deal as deal on deal.deal_id = win.deal_id
where win.is_last and (win.amount, win.currency) is distinct from (deal.amount_minor, deal.currency)
union all
select win.deal_id, 'attribution.credit', credited.model, win.amount, credited.amount
from win
join credited on credited.milestone = win.milestone and credited.milestone_id = win.milestone_id
where win.amount is distinct from credited.amount
union all
select win.deal_id, 'marts.deal_attribution', credited.model, credited.amount, shown.amount
from win
join credited on credited.milestone = win.milestone and credited.milestone_id = win.milestone_id
left join shown
    on
        shown.milestone = credited.milestone and shown.milestone_id = credited.milestone_id
        and shown.model = credited.model and shown.scope = credited.scope
where coalesce(shown.amount, 0) <> credited.amount
union all
select win.deal_id, 'marts.milestone', null, win.amount, fact.amount_current_minor
from win
left join marts.milestone as fact on fact.milestone = win.milestone and fact.milestone_id = win.milestone_id
where fact.amount_current_minor is distinct from win.amount
