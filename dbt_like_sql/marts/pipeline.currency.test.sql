-- A deal with an amount has a currency.
select deal_id, currency, amount_minor
from marts.pipeline
where amount_minor is not null and amount is null
