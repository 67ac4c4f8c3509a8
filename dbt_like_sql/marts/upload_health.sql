-- One row per destination, ad account, action, kind, state, reason and day the business fact happened: how many
-- conversions stand there, what waits longest and what was accepted last. The day is the fact's, in the account's
-- time zone, so that a stuck or refused day shows up as such. Waiting is pending, held, in_flight, retry or unknown.
--
-- This is the one table that shows when the pipeline did something; it is memory and no rebuild makes it anew.
--
-- @audience: marketing
-- @column destination [not_null]: the ad platform, by the name of its file in crm_attribution/destinations/
-- @column ad_account [not_null]: ad account or dataset on the platform; the platform's name where the settings name none
-- @column action [not_null]: the platform's event name or conversion rule
-- @column kind [not_null] [in conversion, restatement, retraction]: the conversion itself, or a later correction of it
-- @column state [not_null] [in pending, held, in_flight, retry, unknown, accepted, processed, rejected, not_adjustable,
--   suppressed, expired]: where these conversions stand
-- @column reason: why they are in that state; the platform's code or ours
-- @column occurred_on [not_null]: day the fact happened, in the account's time zone
-- @column is_waiting [not_null]: not finished: it will be sent, looked at again, or decided by a person
-- @column conversions [not_null] [>= 1]: how many conversions
-- @column sends [not_null] [>= 0]: how often they were sent in all
-- @column oldest_waiting_since: earliest time from which a waiting one could be sent, UTC; null where none waits
-- @column next_expiry: when the platform's window for the most urgent waiting one ends, UTC; null where none waits
-- @column newest_occurred_at [not_null]: when the latest of the facts happened, UTC
-- @column newest_send_at: when one of them was last sent, UTC; a log time
-- @column newest_accepted_at: when the platform last accepted one of them, UTC; a log time
-- @unique: destination, ad_account, action, kind, state, reason, occurred_on
with zone as (
    select coalesce(min(time_zone), 'UTC') as time_zone
    from staging.account
),

sent as (
    select
        conversion_id,
        count(left_at) as sends,
        max(left_at) as newest_send_at,
        max(finished) filter (where outcome = 'accepted') as newest_accepted_at
    from delivery.attempt
    group by conversion_id
),

placed as (
    select
        conversion.*,
        (conversion.occurred_at at time zone zone.time_zone)::date as occurred_on,
        conversion.state in ('pending', 'held', 'in_flight', 'retry', 'unknown') as is_waiting
    from conversions.conversion as conversion
    cross join zone
)

select
    placed.destination,
    placed.account as ad_account,
    placed.action,
    placed.kind,
    placed.state,
    placed.reason,
    placed.occurred_on,
    placed.is_waiting,
    count(*) as conversions,
    coalesce(sum(sent.sends), 0)::bigint as sends,
    min(placed.ready_at) filter (where placed.is_waiting) as oldest_waiting_since,
    min(placed.expires_at) filter (where placed.is_waiting) as next_expiry,
    max(placed.occurred_at) as newest_occurred_at,
    max(sent.newest_send_at) as newest_send_at,
    max(sent.newest_accepted_at) as newest_accepted_at
from placed
left join sent on sent.conversion_id = placed.conversion_id
group by
    placed.destination, placed.account, placed.action, placed.kind, placed.state, placed.reason, placed.occurred_on,
    placed.is_waiting
