-- The amount in the currency's unit is the one in minor units, for each currency by its own digits.
select spend.spent_on, spend.platform, spend.currency, spend.amount_minor, spend.amount
from marts.spend as spend
left join staging.currency as currency on currency.currency = spend.currency
where spend.amount is distinct from spend.amount_minor::decimal(19, 0) * currency.unit
