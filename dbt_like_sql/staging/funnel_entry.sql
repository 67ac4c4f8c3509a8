-- One row per person, deal and account that has entered the funnel: when, and through which channel it came.
--
-- It entered with its earliest live milestone. Its first touch is the earliest known touch of the person, or of the
-- account of the deal (without a company: of the deal's contacts), up to one hour after that: HubSpot often dates a contact some moments before the form that made
-- it. Later touches do not change the first channel. There is no look-back window: this is no attribution
-- model but the one definition of "first touch" that the marts share.
-- What looks like an e-mail address in a source, medium or campaign is withheld.
-- Milestones of internal and test traffic (suppressed) do not count.
--
-- @column subject [not_null] [in person, deal, account]: what entered
-- @column subject_id [not_null]: person id, deal id or account id
-- @column account_id: the account of the deal, the account itself; null for persons
-- @column entered_at [not_null]: when its earliest milestone happened, UTC
-- @column first_touch_id: its first touch, null where none is known
-- @column first_touched_at: when that was, UTC
-- @column channel [not_null]: channel of the first touch, or Unattributed
-- @column source: source of the first touch
-- @column medium: medium of the first touch
-- @column campaign: campaign of the first touch
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
        case when regexp_matches(source, '[^@\s]+@[^@\s]+\.[^@\s]+') then '(withheld)' else source end as source,
        case when regexp_matches(medium, '[^@\s]+@[^@\s]+\.[^@\s]+') then '(withheld)' else medium end as medium,
        case when regexp_matches(campaign, '[^@\s]+@[^@\s]+\.[^@\s]+') then '(withheld)' else campaign end as campaign
    from attribution.touch
),

first_touch as (
    select subject, subject_id, arg_min(touch_id, (touched_at, touch_id)) as touch_id
    from candidate
    group by subject, subject_id
)

select
    entry.subject,
    entry.subject_id,
    entry.account_id,
    entry.entered_at,
    touch.touch_id as first_touch_id,
    touch.touched_at as first_touched_at,
    coalesce(touch.channel, 'Unattributed') as channel,
    touch.source,
    touch.medium,
    touch.campaign
from entry
left join first_touch on first_touch.subject = entry.subject and first_touch.subject_id = entry.subject_id
left join touch on touch.touch_id = first_touch.touch_id
