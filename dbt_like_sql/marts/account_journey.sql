-- One row per account that has entered the funnel: its entry touch, the day it reached each step, the days between, and
-- how many deals it has. The first fact of each kind counts. Money is in marts.account_value, per currency.
-- Reversed facts, and internal or test traffic (suppressed milestones, and their deals), do not count.
--
-- Days are those of the account's time zone. A number of days is negative where somebody dated a win back.
--
-- @audience: marketing, revenue-operations
-- @column account_id [not_null] [unique]: company:ID, domain:NAME where no company has
--   it, or deal:ID for a deal without company
-- @column account_name: company name; null for domain:NAME and deal:ID
-- @column account_domain: domain of the company, or the business domain itself; null for deal:ID
-- @column is_target_account: whether HubSpot flags it as a target account; null where it does not say
-- @column owner_id: HubSpot owner id
-- @column entered_on [not_null]: day of its earliest fact
-- @column entry_touched_on: day of its entry touch, its earliest up to an hour after its first fact; null where none is
--   known; not what the model first_touch credits, which looks at the window of one outcome
-- @column entry_channel [not_null]: channel of that touch, or Unattributed
-- @column entry_source: source of that touch
-- @column entry_medium: medium of that touch
-- @column entry_campaign: campaign of that touch
-- @column touches [not_null] [>= 0]: touches of the account so far, those of its shared mailboxes too
-- @column lead_captured_on: first lead booked
-- @column qualified_lead_on: first marketing-qualified lead booked
-- @column sales_qualified_lead_on: first sales-qualified lead booked
-- @column opportunity_created_on: first opportunity booked
-- @column proposal_sent_on: first proposal booked
-- @column customer_won_on: first win booked (close date)
-- @column last_expanded_on: latest further win booked (close date)
-- @column days_touch_to_opportunity: days from the entry touch to the first opportunity
-- @column days_lead_to_opportunity: days from the first lead to the first opportunity
-- @column days_opportunity_to_won: days from the first opportunity to the first win
-- @column deals_open [not_null] [>= 0]: open deals now
-- @column deals_won [not_null] [>= 0]: won deals
-- @column deals_lost [not_null] [>= 0]: lost deals
-- @unique: account_id
with zone as (
    select coalesce(min(time_zone), 'UTC') as time_zone
    from staging.account
),

dates as (
    select
        account_id,
        min(booked_on) filter (where milestone = 'lead_captured') as lead_captured_on,
        min(booked_on) filter (where milestone = 'qualified_lead') as qualified_lead_on,
        min(booked_on) filter (where milestone = 'sales_qualified_lead') as sales_qualified_lead_on,
        min(booked_on) filter (where milestone = 'opportunity_created') as opportunity_created_on,
        min(booked_on) filter (where milestone = 'proposal_sent') as proposal_sent_on,
        min(booked_on) filter (where milestone = 'customer_won') as customer_won_on,
        max(booked_on) filter (where milestone = 'customer_expanded') as last_expanded_on
    from marts.milestone
    where is_counted and account_id is not null
    group by account_id
),

deals as (
    select
        account_id,
        count(*) filter (where status = 'open') as deals_open,
        count(*) filter (where status = 'won') as deals_won,
        count(*) filter (where status = 'lost') as deals_lost
    from marts.pipeline
    where not is_suppressed
    group by account_id
),

touches as (
    select account_id, count(*) as touches
    from attribution.touch
    group by account_id
),

entry as (
    select
        entry.subject_id as account_id,
        (entry.entered_at at time zone zone.time_zone)::date as entered_on,
        (entry.entry_touched_at at time zone zone.time_zone)::date as entry_touched_on,
        entry.entry_channel,
        entry.entry_source,
        entry.entry_medium,
        entry.entry_campaign
    from staging.funnel_entry as entry
    cross join zone
    where entry.subject = 'account'
)

select
    entry.account_id,
    case when account.company_id is not null then account.name end as account_name,
    account.domain as account_domain,
    account.target_account as is_target_account,
    account.owner_id,
    entry.entered_on,
    entry.entry_touched_on,
    entry.entry_channel,
    entry.entry_source,
    entry.entry_medium,
    entry.entry_campaign,
    coalesce(touches.touches, 0) as touches,
    dates.lead_captured_on,
    dates.qualified_lead_on,
    dates.sales_qualified_lead_on,
    dates.opportunity_created_on,
    dates.proposal_sent_on,
    dates.customer_won_on,
    dates.last_expanded_on,
    date_diff('day', entry.entry_touched_on, dates.opportunity_created_on) as days_touch_to_opportunity,
    date_diff('day', dates.lead_captured_on, dates.opportunity_created_on) as days_lead_to_opportunity,
    date_diff('day', dates.opportunity_created_on, dates.customer_won_on) as days_opportunity_to_won,
    coalesce(deals.deals_open, 0) as deals_open,
    coalesce(deals.deals_won, 0) as deals_won,
    coalesce(deals.deals_lost, 0) as deals_lost
from entry
left join identity.account as account on account.account_id = entry.account_id
left join dates on dates.account_id = entry.account_id
left join deals on deals.account_id = entry.account_id
left join touches on touches.account_id = entry.account_id
