-- One row per conversion: the business fact, the click it carries, its value, where it stands and why. Also what was not
-- sent, and each restatement or retraction of one that was.
--
-- Persons are left out: no identifier and no person id. What the pipeline did when is in marts.upload_health; this table
-- is memory and no rebuild makes it anew.
--
-- @audience: marketing, revenue-operations
-- @column conversion_id [not_null] [unique]: the delivery key; `crm-attribution preview` and `replay` take it
-- @column destination [not_null]: the ad platform
-- @column ad_account [not_null]: ad account or dataset on the platform; the platform's name where the settings name none
-- @column action [not_null]: the platform's event name or conversion rule
-- @column kind [not_null] [in conversion, restatement, retraction]: the conversion itself, or a later correction of it
-- @column revision [not_null] [>= 0]: 0 for the conversion itself
-- @column adjusts: of a correction, the conversion it is about
-- @column cause: why there is a correction: amount, currency, merged, gone, reopened, or why the win no longer stands
-- @column milestone [not_null]: what happened
-- @column milestone_id [not_null]: the fact's id when it was planned; `crm-attribution why` explains it
-- @column deal_id: HubSpot deal id of the fact as it is now; null for facts about persons, and where it is gone
-- @column account_id: the buying organisation of the fact as it is now: company:ID, domain:NAME where no company has it,
--   or deal:ID for a deal without company
-- @column occurred_at [not_null]: business time that is sent, UTC
-- @column occurred_on [not_null]: its day in the account's time zone
-- @column ready_at [not_null]: not sent before, UTC
-- @column expires_at [not_null]: the platform's window for it ends, UTC
-- @column state [not_null] [in pending, held, in_flight, retry, unknown, accepted, processed, rejected, not_adjustable,
--   suppressed, expired]: where it stands
-- @column reason: why it is in that state; the platform's code or ours
-- @column is_waiting [not_null]: not finished: it will be sent, looked at again, or decided by a person
-- @column is_counted [not_null]: the platform has taken it
-- @column sends [not_null] [>= 0]: how often bytes of it left
-- @column currency: ISO 4217 code of the value
-- @column value_minor: value that is sent, minor units; null where the rule sends none
-- @column value: value in the currency's unit
-- @column has_click [not_null]: it carries a click of the platform
-- @column click_channel: channel of that click
-- @column click_source: source of that click
-- @column click_campaign: campaign of that click
-- @column click_days_before [>= 0]: whole days from that click to the fact
-- @unique: conversion_id
with zone as (
    select coalesce(min(time_zone), 'UTC') as time_zone
    from staging.account
),

sent as (
    select conversion_id, count(left_at) as sends
    from delivery.attempt
    group by conversion_id
),

fact as (
    select
        linked.event_id,
        arg_min(milestone.deal_id, (milestone.state, milestone.milestone))::varchar as deal_id,
        arg_min(milestone.account_id, (milestone.state, milestone.milestone)) as account_id
    from events.milestone_event as linked
    inner join events.milestone as milestone
        on milestone.milestone = linked.milestone and milestone.milestone_id = linked.milestone_id
    group by linked.event_id
)

select
    conversion.conversion_id,
    conversion.destination,
    conversion.account as ad_account,
    conversion.action,
    conversion.kind,
    conversion.revision,
    conversion.adjusts,
    conversion.cause,
    conversion.milestone,
    conversion.milestone_id,
    fact.deal_id,
    fact.account_id,
    conversion.occurred_at,
    (conversion.occurred_at at time zone zone.time_zone)::date as occurred_on,
    conversion.ready_at,
    conversion.expires_at,
    conversion.state,
    conversion.reason,
    conversion.state in ('pending', 'held', 'in_flight', 'retry', 'unknown') as is_waiting,
    conversion.state in ('accepted', 'processed') as is_counted,
    coalesce(sent.sends, 0) as sends,
    conversion.currency,
    conversion.value as value_minor,
    conversion.value::decimal(19, 0) * currency.unit as value,
    conversion.touch_id is not null as has_click,
    touch.channel as click_channel,
    touch.source as click_source,
    touch.campaign as click_campaign,
    date_diff('hour', touch.touched_at, conversion.occurred_at) // 24 as click_days_before
from conversions.conversion as conversion
cross join zone
left join sent on sent.conversion_id = conversion.conversion_id
left join fact on fact.event_id = conversion.milestone_id
left join attribution.touch as touch on touch.touch_id = conversion.touch_id
left join staging.currency as currency on currency.currency = conversion.currency
