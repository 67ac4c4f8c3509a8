-- One row per booked month and currency: what HubSpot itself has as closed and won, what of it the figures leave out and why,
-- and what is left in the warehouse, in credit and in the marts. HubSpot's total - left out + added = warehouse, and warehouse
-- = credited + unattributed in every model = marts, to the minor unit: where one differs the file is not published, and the
-- message names the deals.
--
-- HubSpot is asked in two ways: deal by deal, each hour, and once a day for the sum of what it has as closed and won
-- (raw.closed_won). The two must agree on every deal that did not change in between.
--
-- HubSpot's own report of revenue per campaign differs from marts.revenue_attribution: marts.campaign_reconciliation has why.
--
-- @audience: finance
-- @column booked_month [not_null]: first day of the month of the close date, in the account's time zone
-- @column currency: ISO 4217 code of every amount in the row
-- @column hubspot_deals [not_null] [>= 0]: deals that HubSpot has as closed and won in the month (hs_is_closed_won)
-- @column hubspot_minor [not_null]: their amounts as HubSpot has them, minor units
-- @column asked_deals [not_null] [>= 0]: deals in HubSpot's answer to the question for all it has as closed and won; 0 before
--   the first daily reconciliation
-- @column asked_minor [not_null]: their amounts in that answer, minor units
-- @column asked_changed_since [not_null] [>= 0]: of them changed between that answer and the last reading: compared tomorrow
-- @column not_tracked_minor [not_null]: of them in pipelines that the mapping ignores or does not name, minor units
-- @column internal_minor [not_null]: of them internal or test traffic, minor units
-- @column other_meaning_minor [not_null]: of them where the mapping, or the stage's metadata when the deal came into it, says
--   that they are not won; or in a churn pipeline, minor units
-- @column won_by_mapping_minor [not_null]: wins that HubSpot's own flag does not show: the mapping, or the stage's metadata of
--   then, says so, minor units
-- @column won_before_minor [not_null]: earlier wins of deals that were won again in a pipeline of another kind, minor units
-- @column moved_minor [not_null]: wins that count in another month than HubSpot's close date now says, minor units: negative
--   where they left the month
-- @column warehouse_deals [not_null] [>= 0]: wins in the warehouse (customer_won and customer_expanded)
-- @column warehouse_minor [not_null]: their amounts, minor units
-- @column attributed_minor [not_null]: of them credited to touches; the least of all models, which is the same in those among
--   touches
-- @column unattributed_minor [not_null]: of them at no touch: warehouse - attributed
-- @column marts_minor [not_null]: what marts.revenue_attribution has of them, minor units
-- @column hubspot: HubSpot's amounts in the currency's unit
-- @column warehouse: the warehouse's amounts in the currency's unit
-- @column attributed: of them credited to touches
-- @column unattributed: of them at no touch
-- @column difference_minor [not_null]: what is not explained: 0
-- @unique: booked_month, currency
with zone as (
    select coalesce(min(time_zone), 'UTC') as time_zone
    from staging.account
),

hubspot as (
    select
        deal.deal_id,
        date_trunc('month', (deal.close_date at time zone zone.time_zone))::date as booked_month,
        deal.currency,
        coalesce(deal.amount_minor, 0) as amount_minor
    from staging.deal as deal
    cross join zone
    where deal.is_won_in_hubspot and not deal.is_archived
),

fact as (
    select
        deal_id::varchar as deal_id,
        bool_and(suppressed_by is not null) as is_internal
    from events.milestone
    where deal_id is not null
    group by deal_id
),

win as (
    select
        milestone,
        milestone_id,
        deal_id::varchar as deal_id,
        date_trunc('month', booked_on)::date as booked_month,
        currency,
        coalesce(amount_current, 0) as amount_minor,
        row_number() over (partition by deal_id order by observed_at desc, milestone_id desc) = 1 as is_last
    from events.milestone
    where
        milestone in ('customer_won', 'customer_expanded') and state = 'live' and suppressed_by is null
        and deal_id is not null
),

last_win as (
    select * from win where is_last
),

classed as (
    select
        coalesce(last_win.booked_month, hubspot.booked_month) as booked_month,
        coalesce(last_win.currency, hubspot.currency) as currency,
        hubspot.deal_id as hubspot_deal,
        hubspot.booked_month as hubspot_month,
        hubspot.amount_minor as hubspot_minor,
        last_win.amount_minor as warehouse_minor,
        case
            when hubspot.deal_id is null then 'won_by_mapping'
            when last_win.deal_id is not null then 'both'
            when fact.is_internal then 'internal'
            when fact.deal_id is null then 'not_tracked'
            else 'other_meaning'
        end as class
    from hubspot
    full join last_win on last_win.deal_id = hubspot.deal_id
    left join fact on fact.deal_id = hubspot.deal_id
),

asked as (
    select
        coalesce(
            date_trunc('month', (won.closedate at time zone zone.time_zone))::date, last_win.booked_month
        ) as booked_month,
        won.currency,
        count(*) as asked_deals,
        coalesce(sum(won.amount), 0)::bigint as asked_minor,
        count(*) filter (where deal.modified_at is distinct from won.modified_at) as asked_changed_since
    from raw.closed_won as won
    cross join zone
    left join staging.deal as deal on deal.deal_id = won.deal_id::varchar
    left join last_win on last_win.deal_id = won.deal_id::varchar
    group by all
),

part as (
    select
        coalesce(hubspot_month, booked_month) as booked_month,
        currency,
        count(hubspot_deal) as hubspot_deals,
        coalesce(sum(hubspot_minor), 0) as hubspot_minor,
        coalesce(sum(hubspot_minor) filter (where class = 'not_tracked'), 0) as not_tracked_minor,
        coalesce(sum(hubspot_minor) filter (where class = 'internal'), 0) as internal_minor,
        coalesce(sum(hubspot_minor) filter (where class = 'other_meaning'), 0) as other_meaning_minor,
        coalesce(sum(warehouse_minor) filter (where class = 'won_by_mapping'), 0) as won_by_mapping_minor,
        0 as won_before_minor,
        -coalesce(sum(hubspot_minor) filter (where class = 'both' and hubspot_month <> booked_month), 0) as moved_minor,
        0 as warehouse_deals,
        0 as warehouse_minor,
        0 as attributed_minor,
        0 as marts_minor
    from classed
    group by all
    union all
    select booked_month, currency, 0, 0, 0, 0, 0, 0, 0, sum(hubspot_minor), 0, 0, 0, 0
    from classed
    where class = 'both' and hubspot_month <> booked_month
    group by all
    union all
    select
        booked_month, currency, 0, 0, 0, 0, 0, 0,
        coalesce(sum(amount_minor) filter (where not is_last), 0), 0, count(*), sum(amount_minor), 0, 0
    from win
    group by all
    union all
    select booked_month, currency, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, min(attributed), min(credited)
    from (
        select
            booked_month, currency, model, scope,
            coalesce(sum(credit_minor) filter (where channel <> 'Unattributed'), 0) as attributed,
            sum(credit_minor) as credited
        from marts.revenue_attribution
        where milestone in ('customer_won', 'customer_expanded') and measure = 'amount' and subtype is not null
        group by all
    )
    group by booked_month, currency
),

summed as (
    select
        booked_month,
        currency,
        sum(hubspot_deals)::bigint as hubspot_deals,
        sum(hubspot_minor)::bigint as hubspot_minor,
        sum(not_tracked_minor)::bigint as not_tracked_minor,
        sum(internal_minor)::bigint as internal_minor,
        sum(other_meaning_minor)::bigint as other_meaning_minor,
        sum(won_by_mapping_minor)::bigint as won_by_mapping_minor,
        sum(won_before_minor)::bigint as won_before_minor,
        sum(moved_minor)::bigint as moved_minor,
        sum(warehouse_deals)::bigint as warehouse_deals,
        sum(warehouse_minor)::bigint as warehouse_minor,
        sum(attributed_minor)::bigint as attributed_minor,
        sum(marts_minor)::bigint as marts_minor
    from part
    where booked_month is not null
    group by booked_month, currency
)

select
    summed.booked_month,
    summed.currency,
    summed.hubspot_deals,
    summed.hubspot_minor,
    coalesce(asked.asked_deals, 0) as asked_deals,
    coalesce(asked.asked_minor, 0) as asked_minor,
    coalesce(asked.asked_changed_since, 0) as asked_changed_since,
    summed.not_tracked_minor,
    summed.internal_minor,
    summed.other_meaning_minor,
    summed.won_by_mapping_minor,
    summed.won_before_minor,
    summed.moved_minor,
    summed.warehouse_deals,
    summed.warehouse_minor,
    summed.attributed_minor,
    summed.warehouse_minor - summed.attributed_minor as unattributed_minor,
    summed.marts_minor,
    summed.hubspot_minor::decimal(19, 0) * unit.unit as hubspot,
    summed.warehouse_minor::decimal(19, 0) * unit.unit as warehouse,
    summed.attributed_minor::decimal(19, 0) * unit.unit as attributed,
    (summed.warehouse_minor - summed.attributed_minor)::decimal(19, 0) * unit.unit as unattributed,
    summed.hubspot_minor - summed.not_tracked_minor - summed.internal_minor - summed.other_meaning_minor
        + summed.won_by_mapping_minor + summed.won_before_minor + summed.moved_minor - summed.warehouse_minor
        as difference_minor
from summed
left join asked
    on asked.booked_month = summed.booked_month and asked.currency is not distinct from summed.currency
left join staging.currency as unit on unit.currency = summed.currency
