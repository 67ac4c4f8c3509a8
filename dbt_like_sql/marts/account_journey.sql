-- One row per account and step of its way, in the order of time: each touch, and each business fact that counts. Who acted is
-- named by the HubSpot contact id; it opens in HubSpot. One row per account, with its dates and where it stands, is in
-- marts.account_progress.
--
-- @audience: marketing, revenue-operations
-- @incremental: account_id
-- @follows: attribution.touch, events.milestone
-- @follows: events.event by event_id in events.milestone
-- @column account_id [not_null]: company:ID, domain:NAME where no company has it, or deal:ID for a deal without company
-- @column step [not_null] [>= 1]: place in the account's way, 1 is the first
-- @column happened_at [not_null]: when it happened, UTC
-- @column kind [not_null] [in touch, fact]: a touch, or a business fact
-- @column what [not_null]: of a touch its kind (link_click, form_submission, …), of a fact the milestone (lead_captured, …)
-- @column contact_id: HubSpot contact that acted, or whose lifecycle stage the fact is; null where none is known
-- @column touch_id: the touch; null for a fact
-- @column channel: channel of the touch; null for a fact
-- @column source: source of the touch (utm_source)
-- @column medium: medium of the touch (utm_medium)
-- @column campaign: campaign of the touch (utm_campaign)
-- @column milestone_id: id of the fact in marts.milestone; null for a touch
-- @column subtype: of the fact: new, expansion or renewal
-- @column deal_id: HubSpot deal id of the fact
-- @column stage: HubSpot's label of the stage that made the fact, or the stage itself
-- @unique: account_id, step
with happened as (
    select
        account_id,
        touched_at as happened_at,
        'touch' as kind,
        kind as what,
        contact_id,
        touch_id,
        channel,
        withheld(source) as source,
        withheld(medium) as medium,
        withheld(campaign) as campaign,
        null as milestone_id,
        null as subtype,
        null::bigint as deal_id,
        null as stage
    from attribution.touch
    where account_id is not null
    union all
    select
        fact.account_id,
        fact.occurred_at,
        'fact',
        fact.milestone,
        event.contact_id,
        null,
        null,
        null,
        null,
        null,
        fact.milestone_id,
        fact.subtype,
        fact.deal_id,
        coalesce(event.hubspot_label, event.to_stage)
    from events.milestone as fact
    left join events.event as event on event.event_id = fact.event_id
    where fact.state = 'live' and fact.suppressed_by is null and fact.account_id is not null
)

select
    account_id,
    row_number() over (
        partition by account_id order by happened_at, kind desc, what, touch_id, milestone_id
    ) as step,
    happened_at,
    kind,
    what,
    contact_id::varchar as contact_id,
    touch_id,
    channel,
    source,
    medium,
    campaign,
    milestone_id,
    subtype,
    deal_id::varchar as deal_id,
    stage
from happened
