-- One row per currency in use, with how many digits its minor unit has: 2 for euro and dollar, 0 for yen, 3 for dinar.
--
-- Amounts are whole minor units; `unit` turns them into the currency's own unit without a float: minor x unit.
-- The exceptions are those of ISO 4217 in crm_attribution/money.py; a test compares the two.
--
-- @column currency [not_null] [unique]: ISO 4217 code
-- @column digits [not_null] [>= 0] [<= 3]: digits of the minor unit
-- @column unit [not_null] [> 0] [<= 1]: what one minor unit is worth in the currency: 0.01 for EUR
-- @unique: currency
with exception (currency, digits) as (
    values
        ('BIF', 0), ('CLP', 0), ('DJF', 0), ('GNF', 0), ('ISK', 0), ('JPY', 0), ('KMF', 0), ('KRW', 0),
        ('PYG', 0), ('RWF', 0), ('UGX', 0), ('VND', 0), ('VUV', 0), ('XAF', 0), ('XOF', 0), ('XPF', 0),
        ('BHD', 3), ('IQD', 3), ('JOD', 3), ('KWD', 3), ('LYD', 3), ('OMR', 3), ('TND', 3)
),

used as (
    select currency from raw.deal
    union
    select currency from events.milestone
    union
    select currency from attribution.credit
    union
    select currency from events.revenue
    union
    select currency from finance.milestone_version
    union
    select home_currency from finance.milestone_version
    union
    select currency from finance.revenue_version
    union
    select currency from raw.ad_spend
    union
    select currency from raw.cost
    union
    select currency from raw.campaign
    union
    select company_currency from raw.account
),

known as (
    select used.currency, coalesce(exception.digits, 2)::bigint as digits
    from used
    left join exception on exception.currency = used.currency
    where used.currency <> ''
)

select
    currency,
    digits,
    (case digits when 0 then '1' when 3 then '0.001' else '0.01' end)::decimal(4, 3) as unit
from known
