-- Kind and finance day of every outcome, as they were known from `since` to `until`. Versions that differ in nothing else
-- are one row.
--
-- @materialized: view
-- @column milestone [not_null]: the outcome, finance.milestone_version or finance.revenue_version
-- @column milestone_id [not_null]: the outcome's id
-- @column subtype: new, expansion or renewal
-- @column booked_on [not_null]: finance day
-- @column deal_id: HubSpot deal id
-- @column since [not_null]: known from, UTC
-- @column until: known until, UTC; null is now
-- @unique: milestone, milestone_id, since
with version as (
    select milestone, milestone_id, subtype, booked_on, deal_id, recorded_at, superseded_at
    from finance.milestone_version
    union all
    select milestone, milestone_id, subtype, booked_on, deal_id, recorded_at, superseded_at
    from finance.revenue_version
),

marked as (
    select
        *,
        case
            when
                subtype is not distinct from lag(subtype) over outcome and booked_on = lag(booked_on) over outcome
                and deal_id is not distinct from lag(deal_id) over outcome
                and recorded_at = lag(superseded_at) over outcome
                then 0 else 1
        end as differs
    from version
    window outcome as (partition by milestone, milestone_id order by recorded_at)
),

numbered as (
    select *, sum(differs) over (partition by milestone, milestone_id order by recorded_at) as run
    from marked
)

select
    milestone,
    milestone_id,
    any_value(subtype) as subtype,
    any_value(booked_on) as booked_on,
    any_value(deal_id)::varchar as deal_id,
    min(recorded_at) as since,
    case when count(superseded_at) = count(*) then max(superseded_at) end as until
from numbered
group by milestone, milestone_id, run
