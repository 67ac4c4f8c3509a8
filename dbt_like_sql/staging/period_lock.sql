-- Which month is the first open one, from one closing or reopening to the next: a change that is recorded after `since`, up
-- to and with `until`, is posted to the month it is booked in, or to `first_open` where that is later. Before the first row
-- nothing is closed.
--
-- @column since [not_null]: exclusive, UTC
-- @column until: inclusive, UTC; null is now
-- @column first_open [not_null]: first day of the first month that is not closed then
-- @unique: since
with command as (
    select distinct recorded_at
    from finance.period
),

held as (
    select command.recorded_at, period.month, arg_max(period.state, period.recorded_at) as state
    from command
    join finance.period as period on period.recorded_at <= command.recorded_at
    group by command.recorded_at, period.month
),

closed as (
    select recorded_at as since, max(month) filter (where state = 'closed') as through
    from held
    group by recorded_at
)

select
    since,
    lead(since) over (order by since) as until,
    coalesce((through + interval 1 month)::date, '0001-01-01'::date) as first_open
from closed
