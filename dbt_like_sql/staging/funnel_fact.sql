-- One row per milestone that counts in a funnel: live, and neither internal nor test traffic. A renewal is no step of a
-- funnel: its facts are left out, unless its win is the account's first.
--
-- @materialized: view
-- @column milestone [not_null]: what happened
-- @column milestone_id [not_null]: with the milestone, the fact
-- @column person_id: whose, null for facts of deals and accounts
-- @column account_id: the account, null for persons without one
-- @column deal_id: the deal, null for facts without one
-- @column subtype: new, expansion or renewal, by the pipeline the deal was in then; null for facts without a deal
-- @column observed_at [not_null]: when HubSpot recorded it, UTC
-- @column booked_on [not_null]: day in the account's time zone: close date of wins, else the day it happened
-- @unique: milestone, milestone_id
with counted as (
    select *
    from events.milestone
    where state = 'live' and suppressed_by is null
),

renewed as (
    select milestone, milestone_id
    from counted
    where
        subtype = 'renewal'
        and milestone <> 'customer_won'
        and (
            milestone = 'customer_expanded'
            or deal_id not in (
                select deal_id from counted where milestone = 'customer_won' and subtype = 'renewal'
            )
        )
)

select
    counted.milestone,
    counted.milestone_id,
    counted.person_id,
    counted.account_id,
    counted.deal_id,
    counted.subtype,
    counted.observed_at,
    counted.booked_on
from counted
anti join renewed on renewed.milestone = counted.milestone and renewed.milestone_id = counted.milestone_id
