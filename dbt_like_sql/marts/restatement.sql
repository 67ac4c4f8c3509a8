-- How each credited figure moved: one row per time it is known anew, figure (month, outcome, model, scope, measure, currency,
-- channel) and basis, with what it was, what it is, and why. Between any two instants a figure differs by the sum of the
-- deltas recorded between them, first recordings (cause new) included. Always pick one basis, model and measure, and one
-- currency for money.
--
-- `crm-attribution changed --since …` asks it. Of several causes in one hour it is the first in the order of the list. What is
-- inside a channel (source, campaign) moves without a row.
--
-- @audience: finance
-- @incremental: milestone, milestone_id
-- @follows: finance.restatement, finance.milestone_version, finance.revenue_version, marts.credit_history
-- @column recorded_at [not_null]: when the new figure is known, UTC
-- @column booked_month [not_null]: first day of the month the figure belongs to
-- @column posted_month [not_null]: first day of the month the delta is posted to: booked_month, or where that was closed by
--   then the first month that was open
-- @column is_adjustment [not_null]: posted to another month than it is booked in
-- @column basis [not_null] [in own, home]: own: in the outcome's currency; home: in the account's home currency
-- @column milestone [not_null]: the outcome
-- @column milestone_id [not_null]: its id; `crm-attribution why` explains it
-- @column deal_id: HubSpot deal id
-- @column model [not_null]: attribution model
-- @column scope [not_null] [in account, deal_contacts]: whose touches count
-- @column measure [not_null] [in count, amount, mrr, arr, tcv]: what is credited
-- @column currency: ISO 4217 code of money; null for count
-- @column channel [not_null]: channel of the touches, or Unattributed
-- @column old_minor [not_null]: what it was: millionths of an outcome for count, else minor units
-- @column new_minor [not_null]: what it is, likewise
-- @column delta_minor [not_null]: new less old, likewise
-- @column old [not_null]: what it was, in outcomes or in the currency's unit
-- @column new [not_null]: what it is, likewise
-- @column delta [not_null]: new less old, likewise
-- @column cause [not_null]: new (recorded for the first time), erased (a person was), archived, suppressed (internal or test
--   traffic), stage (lost, reopened, won again), currency, close_date (another month), amount, rate, identity_rule and mapping
--   (the mapping file was changed), merge, split, account (deal or person belongs to another), late_touch, touch_withdrawn,
--   touch_label (another channel), learned (a model that learns), other_outcome (of the account), not_recorded (by a release
--   that kept no causes), unexplained
-- @column cause_table [not_null]: table of the row that caused it
-- @column cause_key: key of that row, its values joined by |; null where it names persons (finance.restatement has it)
-- @unique: recorded_at, basis, booked_month, milestone, milestone_id, model, scope, measure, currency, channel
with deal as (
    select milestone, milestone_id, arg_max(deal_id, since) as deal_id
    from staging.outcome_label
    group by milestone, milestone_id
),

moved as (
    select
        *,
        case
            when measure = 'count' then 0.000001::decimal(7, 6)
        end as share
    from finance.restatement
)

select
    moved.recorded_at,
    moved.booked_month,
    greatest(moved.booked_month, posted.first_open) as posted_month,
    greatest(moved.booked_month, posted.first_open) <> moved.booked_month as is_adjustment,
    moved.basis,
    moved.milestone,
    moved.milestone_id,
    deal.deal_id,
    moved.model,
    moved.scope,
    moved.measure,
    nullif(moved.currency, '') as currency,
    moved.channel,
    moved.old as old_minor,
    moved.new as new_minor,
    moved.delta as delta_minor,
    moved.old::decimal(19, 0) * coalesce(moved.share, currency.unit::decimal(7, 6)) as old,
    moved.new::decimal(19, 0) * coalesce(moved.share, currency.unit::decimal(7, 6)) as new,
    moved.delta::decimal(19, 0) * coalesce(moved.share, currency.unit::decimal(7, 6)) as delta,
    moved.cause,
    moved.cause_table,
    case when moved.cause_table <> 'identity.person_change' then moved.cause_key end as cause_key
from moved
left join deal on deal.milestone = moved.milestone and deal.milestone_id = moved.milestone_id
left join staging.period_lock as posted
    on moved.recorded_at > posted.since and (posted.until is null or moved.recorded_at <= posted.until)
left join staging.currency as currency on currency.currency = moved.currency
