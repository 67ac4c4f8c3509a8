-- One row per person, deal and account that has entered the funnel: when, and through which channel it came.
--
-- It entered with its earliest live milestone. Its entry touch is the earliest known touch of the person, or of the
-- account of the deal (without a company: of the deal's contacts), up to one hour after that: HubSpot often dates a
-- contact some moments before the form that made it. Later touches do not change it. It is not what the model
-- first_touch credits: that is the earliest touch in the look-back window of one outcome, also one after the entry, and
-- none before the window, so the two name different channels for the same customer.
-- What looks like an e-mail address in a source, medium or campaign is withheld.
-- Milestones of internal and test traffic (suppressed) do not count.
--
-- @column subject [not_null] [in person, deal, account]: what entered
-- @column subject_id [not_null]: person id, deal id or account id
-- @column account_id: the account of the deal, the account itself; null for persons
-- @column entered_at [not_null]: when its earliest milestone happened, UTC
-- @column entry_touch_id: its entry touch, null where none is known
-- @column entry_touched_at: when that was, UTC
-- @column entry_channel [not_null]: channel of the entry touch, or Unattributed
-- @column entry_source: source of the entry touch
-- @column entry_medium: medium of the entry touch
-- @column entry_campaign: campaign of the entry touch
-- @unique: subject, subject_id
with counted as (
    select *
    from events.milestone
    where state = 'live' and suppressed_by is null
),

entry as (
    select 'person' as subject, person_id as subject_id, null as account_id, min(occurred_at) as entered_at
    from counted
    where person_id is not null
    group by person_id
    union all
    select 'deal', deal_id::varchar, min(account_id), min(occurred_at)
    from counted
    where deal_id is not null
    group by deal_id
    union all
    select 'account', account_id, account_id, min(occurred_at)
    from counted
    where account_id is not null
    group by account_id
),

candidate as (
    select entry.subject, entry.subject_id, touch.touch_id, touch.touched_at
    from entry
    join attribution.touch as touch on touch.person_id = entry.subject_id
    where entry.subject = 'person' and touch.touched_at <= entry.entered_at + interval 1 hour
    union all
    select entry.subject, entry.subject_id, touch.touch_id, touch.touched_at
    from entry
    join attribution.touch as touch on touch.account_id = entry.account_id
    where entry.subject <> 'person' and touch.touched_at <= entry.entered_at + interval 1 hour
    union all
    select entry.subject, entry.subject_id, touch.touch_id, touch.touched_at
    from entry
    join staging.association as held
        on
            held.from_type = 'deals'
            and held.to_type = 'contacts'
            and held.from_id = substring(entry.account_id, 6)
    join identity.alias as contact on contact.identifier_type = 'contact' and contact.identifier = held.to_id
    join attribution.touch as touch on touch.person_id = contact.person_id
    where
        entry.subject <> 'person'
        and entry.account_id like 'deal:%'
        and touch.touched_at <= entry.entered_at + interval 1 hour
),

touch as (
    select
        touch_id,
        touched_at,
        channel,
        withheld(source) as source,
        withheld(medium) as medium,
        withheld(campaign) as campaign
    from attribution.touch
),

earliest as (
    select subject, subject_id, arg_min(touch_id, (touched_at, touch_id)) as touch_id
    from candidate
    group by subject, subject_id
)

select
    entry.subject,
    entry.subject_id,
    entry.account_id,
    entry.entered_at,
    touch.touch_id as entry_touch_id,
    touch.touched_at as entry_touched_at,
    coalesce(touch.channel, 'Unattributed') as entry_channel,
    touch.source as entry_source,
    touch.medium as entry_medium,
    touch.campaign as entry_campaign
from entry
left join earliest on earliest.subject = entry.subject and earliest.subject_id = entry.subject_id
left join touch on touch.touch_id = earliest.touch_id
