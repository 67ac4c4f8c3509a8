-- Influenced deals are deals: never more than the account has, and no money of deals there are not.
select account_id, deals_open, influenced_open, deals_won, influenced_won
from marts.account_progress
where
    influenced_open > deals_open
    or influenced_won > deals_won
    or (influenced_open = 0 and influenced_open_minor is not null)
    or (influenced_won = 0 and influenced_won_minor is not null)
