-- One row per step of an account's revenue: what it gained or lost, on the day it did, with the amounts of then. The rows of
-- an account add up to what it pays for; marts.arr_bridge sums them by month. Wins at what they are worth now are in
-- marts.milestone: never add the two up. Archived deals, and internal or test traffic, have no rows.
--
-- A renewal replaces what the account paid for: only the change of recurring revenue is a movement, and one that changes
-- none is revenue_renewed. A win that is lost or reopened ends, and what it replaced counts again. Churn ends recurring
-- revenue alone; what was booked stays booked.
--
-- @audience: finance, revenue-operations
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
-- @unique: milestone, milestone_id
select
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
    date_trunc('month', change.booked_on)::date as booked_month,
    change.currency,
    change.amount as amount_minor,
    change.mrr as mrr_minor,
    change.arr as arr_minor,
    change.tcv as tcv_minor,
    change.amount::decimal(19, 0) * currency.unit as amount,
    change.mrr::decimal(19, 0) * currency.unit as mrr,
    change.arr::decimal(19, 0) * currency.unit as arr,
    change.tcv::decimal(19, 0) * currency.unit as tcv,
    value.home_currency,
    value.rate,
    value.mrr_home as mrr_home_minor,
    value.arr_home as arr_home_minor
from events.revenue as change
left join events.home_value as value on value.milestone = change.milestone and value.milestone_id = change.milestone_id
left join staging.currency as currency on currency.currency = change.currency
