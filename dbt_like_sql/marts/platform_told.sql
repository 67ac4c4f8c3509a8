-- One row per destination, ad account, day, outcome, action and reason: what a platform says became of what was sent, beside
-- what was sent. Accepted is not counted: Google tells hours later how many conversions of a request it processed, how many
-- failed and for which reason, and which it warns about; Meta, how well it finds the people of each event name (0 to 10).
--
-- Sum `conversions` within one outcome only: a conversion that was accepted is processed later, too. This table is memory and
-- no rebuild makes it anew.
--
-- @audience: marketing
-- @column destination [not_null]: the ad platform
-- @column ad_account [not_null]: ad account or dataset on the platform
-- @column day [not_null]: day of the send, or of the reading of a quality, in the account's time zone; of a quality UTC
-- @column outcome [not_null] [in sent, accepted, refused, unknown, processed, failed, warned, waiting, not_told, quality]:
--   sent: bytes left; accepted, refused, unknown: the answer to that; processed, failed, warned, waiting, not_told: what the
--   platform said later of accepted ones; quality: a figure about an event name
-- @column action [not_null]: of a quality the event name; empty otherwise, since a request has several
-- @column reason [not_null]: the platform's reason or figure; empty where there is none
-- @column conversions [>= 0]: how many; null of a quality
-- @column figure: of a quality its value, in the platform's unit
-- @unique: destination, ad_account, day, outcome, action, reason
with zone as (
    select coalesce(min(time_zone), 'UTC') as time_zone
    from staging.account
),

answered as (
    select
        attempt.destination,
        conversion.account as ad_account,
        attempt.batch_id,
        (attempt.left_at at time zone zone.time_zone)::date as day,
        case
            when attempt.outcome = 'accepted' then 'accepted'
            when attempt.outcome is null or attempt.outcome = 'unknown' then 'unknown'
            else 'refused'
        end as outcome,
        coalesce(attempt.code, '') as reason
    from delivery.attempt as attempt
    inner join conversions.conversion as conversion on conversion.conversion_id = attempt.conversion_id
    cross join zone
    where attempt.left_at is not null
),

batch as (
    select batch_id, any_value(ad_account) as ad_account, any_value(day) as day
    from answered
    group by batch_id
),

receipt as (
    select
        receipt.destination,
        receipt.receipt,
        batch.ad_account,
        batch.day,
        receipt.status,
        receipt.conversions,
        coalesce(receipt.errors::varchar, '{}') as errors,
        coalesce(receipt.warnings::varchar, '{}') as warnings
    from delivery.receipt as receipt
    inner join batch on batch.batch_id = receipt.batch_id
),

failure as (
    select
        destination,
        receipt,
        ad_account,
        day,
        unnest(json_keys(errors)) as reason,
        unnest(json_extract(errors, '$.*'))::bigint as conversions
    from receipt
),

failed as (
    select destination, receipt, sum(conversions)::bigint as conversions
    from failure
    group by destination, receipt
),

counted as (
    select destination, ad_account, day, 'sent' as outcome, '' as reason, 1 as conversions
    from answered
    union all
    select destination, ad_account, day, outcome, reason, 1
    from answered
    union all
    select
        receipt.destination, receipt.ad_account, receipt.day, 'processed', '',
        greatest(receipt.conversions - coalesce(failed.conversions, 0), 0)
    from receipt
    left join failed on failed.destination = receipt.destination and failed.receipt = receipt.receipt
    where receipt.status in ('processed', 'partly', 'failed')
    union all
    select destination, ad_account, day, status, '', conversions
    from receipt
    where status in ('waiting', 'not_told')
    union all
    select destination, ad_account, day, 'failed', reason, conversions
    from failure
    union all
    select
        destination, ad_account, day, 'warned', unnest(json_keys(warnings)),
        unnest(json_extract(warnings, '$.*'))::bigint
    from receipt
)

select
    counted.destination,
    counted.ad_account,
    counted.day,
    counted.outcome,
    '' as action,
    counted.reason,
    sum(counted.conversions)::bigint as conversions,
    null::decimal(18, 2) as figure
from counted
group by counted.destination, counted.ad_account, counted.day, counted.outcome, counted.reason
having sum(counted.conversions) > 0
union all
select
    quality.destination,
    quality.account as ad_account,
    quality.read_on::date as day,
    'quality' as outcome,
    quality.action,
    quality.measure as reason,
    null::bigint as conversions,
    (quality.hundredths / 100)::decimal(18, 2) as figure
from delivery.quality as quality
