-- marts.arr_bridge as it is known now: every change of annual recurring revenue in the month it is booked in, closed or not.
-- Where no month was closed the two are equal; the last month of both closes with the same. For what was reported use
-- marts.arr_bridge.
--
-- @audience: finance
-- @column month [not_null]: first day of the month, in the account's time zone
-- @column basis [not_null] [in own, home]: own: in the deals' currencies, each for itself; home: every movement converted to
--   the home currency by the rate of its win; what no rate converts is left out there (marts.known_gaps)
-- @column currency [not_null]: ISO 4217 code
-- @column opening_minor [not_null]: annual recurring revenue when the month began, minor units
-- @column new_minor [not_null]: of accounts that paid for nothing before, minor units
-- @column expansion_minor [not_null]: gained by other accounts: more wins, dearer renewals, raised values
-- @column contraction_minor [not_null]: lost by renewals at less and lowered values, minor units
-- @column churn_minor [not_null]: lost by what ended: lost or reopened after it was won, or churned, minor units
-- @column closing_minor [not_null]: annual recurring revenue when the month ended, minor units
-- @column opening [not_null]: annual recurring revenue when the month began
-- @column new [not_null]: of accounts that paid for nothing before
-- @column expansion [not_null]: gained by other accounts
-- @column contraction [not_null]: lost by renewals at less and lowered values
-- @column churn [not_null]: lost by what ended
-- @column closing [not_null]: annual recurring revenue when the month ended
-- @unique: month, basis, currency
select
    bridge.month,
    bridge.basis,
    bridge.currency,
    bridge.opening_minor,
    bridge.new_minor,
    bridge.expansion_minor,
    bridge.contraction_minor,
    bridge.churn_minor,
    bridge.closing_minor,
    bridge.opening_minor::decimal(19, 0) * currency.unit as opening,
    bridge.new_minor::decimal(19, 0) * currency.unit as new,
    bridge.expansion_minor::decimal(19, 0) * currency.unit as expansion,
    bridge.contraction_minor::decimal(19, 0) * currency.unit as contraction,
    bridge.churn_minor::decimal(19, 0) * currency.unit as churn,
    bridge.closing_minor::decimal(19, 0) * currency.unit as closing
from staging.arr_bridge as bridge
left join staging.currency as currency on currency.currency = bridge.currency
where bridge.months = 'restated'
