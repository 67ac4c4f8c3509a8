-- One row per account that has entered the funnel: its entry touch, the day it reached each step, the days between, how far it
-- came, how many deals it has, and what of its pipeline is influenced: deals with at least one touch. Influenced money overlaps
-- by design: never beside credit (marts.revenue_attribution) in one sum. The first fact of each kind counts. Other money is in
-- marts.account_value, per currency; each step of the way in marts.account_journey.
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
-- @column tier: tier of the account, where the mapping names its property
-- @column owner_id: HubSpot owner id
-- @column owner_name: the owner's name
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
-- @column furthest_step [not_null]: the furthest step of the funnel it reached, as in marts.funnel; one that is a customer
--   stays so
-- @column furthest_on: day it reached that step first
-- @column last_fact_on [not_null]: day of its latest fact: accounts that do not move have an early one
-- @column influenced_open [not_null] [>= 0]: open deals with at least one touch before the opportunity
-- @column influenced_won [not_null] [>= 0]: won deals with at least one touch before the win
-- @column currency: home currency of the HubSpot account, ISO 4217 code, of the influenced money; null without it or a rate
-- @column influenced_open_minor: amount of the influenced open deals in the home currency, minor units
-- @column influenced_won_minor: amount of the influenced won deals in the home currency, minor units
-- @column influenced_open_amount: the first in the currency's unit
-- @column influenced_won_amount: the second in the currency's unit
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
        max(booked_on) filter (where milestone = 'customer_expanded') as last_expanded_on,
        max(booked_on) as last_fact_on
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

step (step_number, step) as (
    values
        (1, 'lead_captured'),
        (2, 'qualified_lead'),
        (3, 'sales_qualified_lead'),
        (4, 'opportunity_created'),
        (5, 'meeting_scheduled'),
        (6, 'opportunity_qualified'),
        (7, 'demo_completed'),
        (8, 'negotiation_started'),
        (9, 'proposal_sent'),
        (10, 'customer_won'),
        (11, 'customer_expanded')
),

reached as (
    select
        fact.account_id,
        arg_max(fact.milestone, step.step_number) as furthest_step,
        arg_max({'n': step.step_number, 'on': fact.booked_on}, (step.step_number, -epoch(fact.booked_on::timestamp)))['on']
            as furthest_on
    from marts.milestone as fact
    join step on step.step = fact.milestone
    where fact.is_counted and fact.account_id is not null
    group by fact.account_id
),

influenced as (
    select
        deal.account_id,
        count(*) filter (where deal.status = 'open') as influenced_open,
        count(*) filter (where deal.status = 'won') as influenced_won,
        max(deal.home_currency) as currency,
        sum(deal.amount_home_minor) filter (where deal.status = 'open')::bigint as influenced_open_minor,
        sum(deal.amount_home_minor) filter (where deal.status = 'won')::bigint as influenced_won_minor
    from marts.pipeline as deal
    where
        not deal.is_suppressed
        and deal.deal_id in (
            select fact.deal_id::varchar
            from attribution.journey as led
            join events.milestone as fact on fact.milestone = led.milestone and fact.milestone_id = led.milestone_id
            where led.scope = 'account' and led.touches > 0 and fact.state = 'live' and fact.deal_id is not null
        )
    group by deal.account_id
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
    account.tier,
    account.owner_id,
    seller.owner_name,
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
    coalesce(deals.deals_lost, 0) as deals_lost,
    reached.furthest_step,
    reached.furthest_on,
    dates.last_fact_on,
    coalesce(influenced.influenced_open, 0) as influenced_open,
    coalesce(influenced.influenced_won, 0) as influenced_won,
    influenced.currency,
    influenced.influenced_open_minor,
    influenced.influenced_won_minor,
    influenced.influenced_open_minor::decimal(19, 0) * unit.unit as influenced_open_amount,
    influenced.influenced_won_minor::decimal(19, 0) * unit.unit as influenced_won_amount
from entry
left join identity.account as account on account.account_id = entry.account_id
left join dates on dates.account_id = entry.account_id
left join deals on deals.account_id = entry.account_id
left join touches on touches.account_id = entry.account_id
left join reached on reached.account_id = entry.account_id
left join influenced on influenced.account_id = entry.account_id
left join staging.owner as seller on seller.owner_id = account.owner_id
left join staging.currency as unit on unit.currency = influenced.currency
