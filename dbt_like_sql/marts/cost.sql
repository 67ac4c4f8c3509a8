-- One row per month, kind and currency: what sales and marketing cost besides ads (salaries, tools, fairs), as the files in
-- inbox/costs tell it. What ads cost is in marts.spend: the two together are the whole cost, and no row is in both as long as
-- the files name no ads. Sum one currency at a time, or amount_home.
--
-- A month has no day: its rate is the last one of the month, and while it runs that moves until its last day.
--
-- @audience: finance, marketing
-- @column month [not_null]: first day of the month the cost belongs to
-- @column kind [not_null]: kind of cost, lower case, words joined by _
-- @column currency [not_null]: ISO 4217 code
-- @column amount_minor [not_null]: cost, minor units; below zero for a refund
-- @column amount [not_null]: the same in the currency's unit, exact
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null where the account has none
-- @column rate: units of home_currency for one of currency, exact; null where none is known (marts.known_gaps)
-- @column rate_source [in home, table, table_earlier]: where the rate comes from. home: it is the home currency; table: the
--   last one of the month in inbox/rates; table_earlier: the last of the days before it (mapping, currency.rate_days)
-- @column rate_on: the day of a rate of the table
-- @column amount_home_minor: cost in the home currency, minor units; null without a rate
-- @column amount_home: the same in the home currency's unit, exact
-- @unique: month, kind, currency
select
    cost.month,
    cost.kind,
    cost.currency,
    cost.amount as amount_minor,
    cost.amount::decimal(19, 0) * currency.unit as amount,
    value.home_currency,
    value.rate,
    value.rate_source,
    value.rate_on,
    value.amount_home as amount_home_minor,
    value.amount_home::decimal(19, 0) * home.unit as amount_home
from raw.cost as cost
left join events.home_spend as value
    on
        value.period = 'month' and value.starts_on = cost.month
        and value.currency = cost.currency and value.amount = cost.amount
left join staging.currency as currency on currency.currency = cost.currency
left join staging.currency as home on home.currency = value.home_currency
