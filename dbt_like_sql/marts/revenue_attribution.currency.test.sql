-- Money has a currency, outcomes have none.
select *
from marts.revenue_attribution
where (measure = 'count') <> (currency is null)
