-- Every live fact about a deal is about a deal of this table, at its account, and a live win is about a won deal.
select fact.milestone, fact.milestone_id, fact.deal_id, fact.account_id, deal.status, deal.account_id as deal_account
from events.milestone as fact
left join marts.pipeline as deal on deal.deal_id = fact.deal_id
where
    fact.state = 'live'
    and fact.deal_id is not null
    and (
        deal.deal_id is null
        or deal.account_id is distinct from fact.account_id
        or (fact.milestone in ('customer_won', 'customer_expanded') and deal.status <> 'won')
    )
