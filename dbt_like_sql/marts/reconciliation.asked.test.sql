-- HubSpot's answer to the question for all won deals is what was read deal by deal, but for deals that changed in between.
with asked as (
    select deal_id::varchar as deal_id, modified_at, currency, amount, asked_at
    from raw.closed_won
),

read as (
    select max(modified_at) as until from staging.deal
)

select asked.deal_id, 'another value' as what, asked.amount as asked, deal.amount_minor as read
from asked
join staging.deal as deal on deal.deal_id = asked.deal_id and deal.modified_at = asked.modified_at
where
    not deal.is_archived
    and (
        not deal.is_won_in_hubspot or deal.amount_minor is distinct from asked.amount
        or deal.currency is distinct from asked.currency
    )
union all
select asked.deal_id, 'not read', asked.amount, null
from asked
cross join read
anti join staging.deal as deal on deal.deal_id = asked.deal_id
anti join events.gap as gap on gap.gap = 'deal_refused' and gap.subject = asked.deal_id
where asked.modified_at < read.until - interval 1 hour
union all
select deal.deal_id, 'not in the answer', null, deal.amount_minor
from staging.deal as deal
anti join asked on asked.deal_id = deal.deal_id
where
    deal.is_won_in_hubspot and not deal.is_archived
    and deal.modified_at < (select min(asked_at) - interval 1 hour from asked)
