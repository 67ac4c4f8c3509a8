-- One row per month, basis and currency: the annual recurring revenue at its beginning, what it gained and lost, and at its end:
-- opening + new + expansion - contraction - churn = closing, to the minor unit, and each month opens with what the one before
-- closed with. A month without a movement has its row too. Months are those of booked_on; a churn date to come stands in
-- its month. Never add currencies up; basis home has them all in the account's own.
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
with moved as (
    select booked_month as month, 'own' as basis, currency, milestone, arr_minor as arr
    from marts.revenue_movement
    where arr_minor is not null and currency is not null
    union all
    select booked_month, 'home', home_currency, milestone, arr_home_minor
    from marts.revenue_movement
    where arr_home_minor is not null
),

summed as (
    select
        month,
        basis,
        currency,
        coalesce(sum(arr) filter (where milestone = 'revenue_new'), 0)::bigint as new_minor,
        coalesce(sum(arr) filter (where milestone in ('revenue_expanded', 'revenue_renewed')), 0)::bigint as expansion_minor,
        -coalesce(sum(arr) filter (where milestone = 'revenue_contracted'), 0)::bigint as contraction_minor,
        -coalesce(sum(arr) filter (where milestone = 'revenue_churned'), 0)::bigint as churn_minor,
        sum(arr)::bigint as change
    from moved
    group by month, basis, currency
),

calendar as (
    select
        basis,
        currency,
        unnest(generate_series(min(month)::timestamp, max(month)::timestamp, interval 1 month))::date as month
    from summed
    group by basis, currency
),

filled as (
    select
        calendar.month,
        calendar.basis,
        calendar.currency,
        coalesce(summed.new_minor, 0) as new_minor,
        coalesce(summed.expansion_minor, 0) as expansion_minor,
        coalesce(summed.contraction_minor, 0) as contraction_minor,
        coalesce(summed.churn_minor, 0) as churn_minor,
        sum(coalesce(summed.change, 0)) over (
            partition by calendar.basis, calendar.currency order by calendar.month
        )::bigint as closing_minor,
        coalesce(summed.change, 0) as change
    from calendar
    left join summed
        on summed.month = calendar.month and summed.basis = calendar.basis and summed.currency = calendar.currency
)

select
    filled.month,
    filled.basis,
    filled.currency,
    filled.closing_minor - filled.change as opening_minor,
    filled.new_minor,
    filled.expansion_minor,
    filled.contraction_minor,
    filled.churn_minor,
    filled.closing_minor,
    (filled.closing_minor - filled.change)::decimal(19, 0) * currency.unit as opening,
    filled.new_minor::decimal(19, 0) * currency.unit as new,
    filled.expansion_minor::decimal(19, 0) * currency.unit as expansion,
    filled.contraction_minor::decimal(19, 0) * currency.unit as contraction,
    filled.churn_minor::decimal(19, 0) * currency.unit as churn,
    filled.closing_minor::decimal(19, 0) * currency.unit as closing
from filled
left join staging.currency as currency on currency.currency = filled.currency
