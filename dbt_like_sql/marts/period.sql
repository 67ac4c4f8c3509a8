-- One row per month that was ever closed, and each closing or reopening of it: the newest row of a month holds. Figures of a
-- closed month never move (marts.revenue_attribution, marts.arr_bridge): what is recorded after `recorded_at` is posted to the
-- first month that is open.
--
-- @audience: finance
-- @column month [not_null]: first day of the month
-- @column state [not_null] [in closed, open]: closed, or open where it was reopened
-- @column recorded_at [not_null]: what was known then, UTC, is what the closed month shows
-- @column changed_by [not_null]: who closed or reopened it
-- @column reason [not_null]: why, as the person who did it says
-- @column is_current [not_null]: the newest row of the month
-- @unique: month, recorded_at
select
    month,
    state,
    recorded_at,
    withheld(changed_by) as changed_by,
    withheld(reason) as reason,
    recorded_at = max(recorded_at) over (partition by month) as is_current
from finance.period
