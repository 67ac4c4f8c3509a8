-- One row per month, pipeline and currency: how fast a pipeline turns opportunities into revenue. Velocity = opportunities x
-- win rate x average deal / median cycle days of won deals: what it brings in a day. Win rate = won / closed. A figure is
-- null where its denominator is missing. Renewals are left out; internal and test traffic too.
--
-- Money is in the home currency where the HubSpot account has one (deals without a rate have none, marts.known_gaps), else in
-- the deals' own currencies. Months of deals lost are those of their close date.
--
-- @audience: revenue-operations, finance
-- @column month [not_null]: first day of the month, in the account's time zone
-- @column pipeline_id: HubSpot pipeline id of the deals now
-- @column pipeline_label: its name
-- @column currency: ISO 4217 code of the money; null where no deal of the row has an amount
-- @column opportunities [not_null] [>= 0]: opportunities created in the month
-- @column won [not_null] [>= 0]: deals won in the month, by close date
-- @column lost [not_null] [>= 0]: deals lost in the month, by close date
-- @column win_rate [>= 0] [<= 1]: won / (won + lost); null where nothing was closed
-- @column won_amount_minor: sum of the amounts of the deals won, minor units
-- @column won_amount: the same in the currency's unit
-- @column average_deal_minor: won amount / deals won with an amount, rounded to minor units; null without one
-- @column median_cycle_days: median days from opportunity to win of deals won in the month; backdated opportunities are left
--   out; null without one
-- @column velocity_minor: what the pipeline brings in a day, rounded to minor units; null where a part of it is
-- @column velocity: the same in the currency's unit
-- @unique: month, pipeline_id, currency
with home as (
    select min(company_currency) as currency
    from staging.account
),

fact as (
    select
        fact.milestone,
        fact.deal_id,
        fact.booked_on,
        fact.booked_month,
        fact.time_basis,
        coalesce(home.currency, fact.currency) as currency,
        case when home.currency is null then fact.amount_current_minor else fact.amount_home_minor end as amount
    from marts.milestone as fact
    cross join home
    where fact.is_counted and fact.deal_id is not null and fact.subtype is distinct from 'renewal'
),

opened as (
    select deal_id, min(booked_on) as opened_on
    from fact
    where milestone = 'opportunity_created' and time_basis is distinct from 'backdated'
    group by deal_id
),

happened as (
    select booked_month as month, deal_id, currency, 'opportunity' as what, null::bigint as amount, null::bigint as days
    from fact
    where milestone = 'opportunity_created'
    union all
    select fact.booked_month, fact.deal_id, fact.currency, 'won', fact.amount, date_diff('day', opened.opened_on, fact.booked_on)
    from fact
    left join opened on opened.deal_id = fact.deal_id
    where fact.milestone in ('customer_won', 'customer_expanded')
    union all
    select date_trunc('month', deal.close_on)::date, deal.deal_id, coalesce(home.currency, deal.currency), 'lost', null, null
    from marts.pipeline as deal
    cross join home
    where
        deal.status = 'lost' and not deal.is_suppressed and deal.close_on is not null
        and deal.deal_id in (select deal_id from fact)
),

summed as (
    select
        happened.month,
        deal.pipeline_id,
        max(deal.pipeline_label) as pipeline_label,
        happened.currency,
        count(*) filter (where happened.what = 'opportunity') as opportunities,
        count(*) filter (where happened.what = 'won') as won,
        count(*) filter (where happened.what = 'lost') as lost,
        sum(happened.amount)::bigint as won_amount_minor,
        count(happened.amount) as valued,
        (median(happened.days) filter (where happened.days >= 0))::decimal(12, 1) as median_cycle_days
    from happened
    left join marts.pipeline as deal on deal.deal_id = happened.deal_id
    group by happened.month, deal.pipeline_id, happened.currency
),

rated as (
    select
        *,
        (won::decimal(18, 0) / nullif(won + lost, 0))::decimal(9, 6) as win_rate,
        round(won_amount_minor::decimal(19, 0) / nullif(valued, 0))::bigint as average_deal_minor
    from summed
),

fast as (
    select
        *,
        round(
            opportunities::double * win_rate * average_deal_minor / nullif(median_cycle_days, 0)
        )::bigint as velocity_minor
    from rated
)

select
    fast.month,
    fast.pipeline_id,
    fast.pipeline_label,
    fast.currency,
    fast.opportunities,
    fast.won,
    fast.lost,
    fast.win_rate,
    fast.won_amount_minor,
    fast.won_amount_minor::decimal(19, 0) * unit.unit as won_amount,
    fast.average_deal_minor,
    fast.median_cycle_days,
    fast.velocity_minor,
    fast.velocity_minor::decimal(19, 0) * unit.unit as velocity
from fast
left join staging.currency as unit on unit.currency = fast.currency
