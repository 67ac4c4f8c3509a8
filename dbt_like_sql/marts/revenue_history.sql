-- Every row of marts.revenue_movement as it was known at any time, from `recorded_at` until `superseded_at`. As of an instant
-- T: the rows with recorded_at <= T and (superseded_at is null or superseded_at > T).
--
-- marts.arr_bridge posts each recording and each superseding in its month.
--
-- @audience: finance
-- @column recorded_at [not_null]: known from, UTC
-- @column superseded_at: known until, UTC; null is now
-- @column posted_month [not_null]: first day of the month in which recording it is posted: booked_month, or where that was
--   closed by then the first month that was open
-- @column reversed_month: first day of the month in which superseding it is posted; null while it holds
-- @column milestone [not_null] [in revenue_new, revenue_expanded, revenue_renewed, revenue_contracted, revenue_churned]: new:
--   the account paid for nothing before; expanded: more; renewed: a renewal that changes no recurring revenue; contracted:
--   less; churned: what was won ends
-- @column milestone_id [not_null]: with the milestone, its id
-- @column cause [not_null]: won; priced (its values were changed after the win); renewed_in_another_currency; lost_after_won,
--   reopened; churn_property, churn_date, churn_pipeline, churn_company_property, churn_company_date (mapping, section
--   churn, and pipelines of the kind churn)
-- @column of_milestone [not_null]: the win that gains or loses it: customer_won or customer_expanded
-- @column of_milestone_id [not_null]: that win's id in marts.milestone
-- @column account_id [not_null]: the buying organisation: company:ID, domain:NAME where no company has it, or deal:ID for a
--   deal without company
-- @column deal_id [not_null]: HubSpot deal id of that win
-- @column subtype [not_null]: new, expansion or renewal, by the deal's pipeline
-- @column occurred_at [not_null]: when it happened, UTC; of a churn date that date, which may be to come
-- @column booked_on [not_null]: finance day in the account's time zone: close date of wins, else the day it happened
-- @column booked_month [not_null]: first day of that month
-- @column currency: ISO 4217 code of the amounts; null where the deal has none
-- @column amount_minor: change of the deal's amount, minor units; null where it does not change
-- @column mrr_minor: change of the account's monthly recurring revenue, minor units; null where unknown
-- @column arr_minor: change of the account's annual recurring revenue, minor units; null where unknown
-- @column tcv_minor: change of the contract value, minor units; null where it does not change
-- @column amount: change of the deal's amount
-- @column mrr: change of the account's monthly recurring revenue
-- @column arr: change of the account's annual recurring revenue
-- @column tcv: change of the contract value
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null without a value or home currency
-- @column rate: units of home_currency for one of currency, exact: that of the win; null where none is known
-- @column mrr_home_minor: mrr in the home currency, minor units
-- @column arr_home_minor: arr in the home currency, minor units
-- @unique: milestone, milestone_id, recorded_at
with change as (
    select *, date_trunc('month', booked_on)::date as booked_month
    from finance.revenue_version
)

select
    change.recorded_at,
    change.superseded_at,
    greatest(change.booked_month, posted.first_open) as posted_month,
    case
        when change.superseded_at is not null then greatest(change.booked_month, reversed.first_open)
    end as reversed_month,
    change.milestone,
    change.milestone_id,
    change.cause,
    change.of_milestone,
    change.of_milestone_id,
    change.account_id,
    change.deal_id::varchar as deal_id,
    change.subtype,
    change.occurred_at,
    change.booked_on,
    change.booked_month,
    change.currency,
    change.amount as amount_minor,
    change.mrr as mrr_minor,
    change.arr as arr_minor,
    change.tcv as tcv_minor,
    change.amount::decimal(19, 0) * currency.unit as amount,
    change.mrr::decimal(19, 0) * currency.unit as mrr,
    change.arr::decimal(19, 0) * currency.unit as arr,
    change.tcv::decimal(19, 0) * currency.unit as tcv,
    change.home_currency,
    change.rate,
    change.mrr_home as mrr_home_minor,
    change.arr_home as arr_home_minor
from change
left join staging.period_lock as posted
    on change.recorded_at > posted.since and (posted.until is null or change.recorded_at <= posted.until)
left join staging.period_lock as reversed
    on change.superseded_at > reversed.since and (reversed.until is null or change.superseded_at <= reversed.until)
left join staging.currency as currency on currency.currency = change.currency
