-- The annual recurring revenue of each month, twice: `reported` with every change in the month it is posted to, `restated` with
-- every change in the month it is booked in, as it is known now. marts.arr_bridge and marts.arr_bridge_restated show one each.
--
-- @column months [not_null] [in reported, restated]: which of the two
-- @column month [not_null]: first day of the month, in the account's time zone
-- @column basis [not_null] [in own, home]: own: in the deals' currencies, each for itself; home: every movement converted to
--   the home currency by the rate of its win; what no rate converts is left out there (marts.known_gaps)
-- @column currency [not_null]: ISO 4217 code
-- @column opening_minor [not_null]: annual recurring revenue when the month began, minor units
-- @column new_minor [not_null]: of accounts that paid for nothing before, minor units
-- @column expansion_minor [not_null]: gained by other accounts: more wins, dearer renewals, raised values
-- @column contraction_minor [not_null]: lost by renewals at less and lowered values, minor units
-- @column churn_minor [not_null]: lost by what ended: lost or reopened after it was won, or churned, minor units
-- @column adjusted_minor [not_null]: of these, what was recorded after the month it is booked in was closed, net
-- @column closing_minor [not_null]: annual recurring revenue when the month ended, minor units
-- @unique: months, month, basis, currency
with closed as (
    select coalesce(max(month), '0001-01-01'::date) as through
    from finance.period
    where state = 'closed'
),

-- of months that were ever closed: each recording and each superseding in the month it is posted to
version as (
    select
        change.milestone,
        change.currency,
        change.arr,
        change.home_currency,
        change.arr_home,
        date_trunc('month', change.booked_on)::date as booked_month,
        greatest(date_trunc('month', change.booked_on)::date, posted.first_open) as posted_month,
        case
            when change.superseded_at is not null
                then greatest(date_trunc('month', change.booked_on)::date, reversed.first_open)
        end as reversed_month
    from finance.revenue_version as change
    cross join closed
    left join staging.period_lock as posted
        on change.recorded_at > posted.since and (posted.until is null or change.recorded_at <= posted.until)
    left join staging.period_lock as reversed
        on change.superseded_at > reversed.since and (reversed.until is null or change.superseded_at <= reversed.until)
    where date_trunc('month', change.booked_on) <= closed.through
),

change as (
    select
        change.milestone,
        date_trunc('month', change.booked_on)::date as booked_month,
        change.currency,
        change.arr,
        value.home_currency,
        value.arr_home
    from events.revenue as change
    left join events.home_value as value
        on value.milestone = change.milestone and value.milestone_id = change.milestone_id
),

movement as (
    select 'restated' as months, booked_month as month, milestone, currency, arr, home_currency, arr_home, false as is_adjustment
    from change
    union all
    select 'reported', booked_month, milestone, currency, arr, home_currency, arr_home, false
    from change
    cross join closed
    where booked_month > closed.through
    union all
    select 'reported', posted_month, milestone, currency, arr, home_currency, arr_home, posted_month <> booked_month
    from version
    where reversed_month is distinct from posted_month
    union all
    select 'reported', reversed_month, milestone, currency, -arr, home_currency, -arr_home, true
    from version
    where reversed_month <> posted_month
),

moved as (
    select months, month, 'own' as basis, currency, milestone, arr, is_adjustment
    from movement
    where arr is not null and currency is not null
    union all
    select months, month, 'home', home_currency, milestone, arr_home, is_adjustment
    from movement
    where arr_home is not null
),

summed as (
    select
        months,
        month,
        basis,
        currency,
        coalesce(sum(arr) filter (where milestone = 'revenue_new'), 0)::bigint as new_minor,
        coalesce(sum(arr) filter (where milestone in ('revenue_expanded', 'revenue_renewed')), 0)::bigint as expansion_minor,
        -coalesce(sum(arr) filter (where milestone = 'revenue_contracted'), 0)::bigint as contraction_minor,
        -coalesce(sum(arr) filter (where milestone = 'revenue_churned'), 0)::bigint as churn_minor,
        coalesce(sum(arr) filter (where is_adjustment), 0)::bigint as adjusted_minor,
        sum(arr)::bigint as change
    from moved
    group by months, month, basis, currency
),

calendar as (
    select
        summed.months,
        summed.basis,
        summed.currency,
        unnest(generate_series(
            min(summed.month)::timestamp, greatest(max(summed.month), any_value(closed.through))::timestamp, interval 1 month
        ))::date as month
    from summed
    cross join closed
    group by summed.months, summed.basis, summed.currency
),

filled as (
    select
        calendar.months,
        calendar.month,
        calendar.basis,
        calendar.currency,
        coalesce(summed.new_minor, 0) as new_minor,
        coalesce(summed.expansion_minor, 0) as expansion_minor,
        coalesce(summed.contraction_minor, 0) as contraction_minor,
        coalesce(summed.churn_minor, 0) as churn_minor,
        coalesce(summed.adjusted_minor, 0) as adjusted_minor,
        sum(coalesce(summed.change, 0)) over (
            partition by calendar.months, calendar.basis, calendar.currency order by calendar.month
        )::bigint as closing_minor,
        coalesce(summed.change, 0) as change
    from calendar
    left join summed
        on
            summed.months = calendar.months and summed.month = calendar.month and summed.basis = calendar.basis
            and summed.currency = calendar.currency
)

select
    months,
    month,
    basis,
    currency,
    closing_minor - change as opening_minor,
    new_minor,
    expansion_minor,
    contraction_minor,
    churn_minor,
    adjusted_minor,
    closing_minor
from filled
