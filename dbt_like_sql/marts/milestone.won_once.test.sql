-- An account is won for the first time at most once: every later live win is customer_expanded.
select account_id, count(*) as first_wins
from marts.milestone
where milestone = 'customer_won' and state = 'live' and account_id is not null
group by account_id
having count(*) > 1
