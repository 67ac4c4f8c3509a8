-- Every row of marts.milestone as it was known at any time, from `recorded_at` until `superseded_at`. As of an instant T: the
-- rows with recorded_at <= T and (superseded_at is null or superseded_at > T): marts.milestone as it was then.
--
-- What is known is known as of the end of an hour: an hour that runs again replaces what it had recorded.
--
-- @audience: finance
-- @incremental: milestone, milestone_id
-- @follows: finance.milestone_version, marts.milestone
-- @column recorded_at [not_null]: known from, UTC
-- @column superseded_at: known until, UTC; null is now
-- @column milestone [not_null]: what happened: lead_captured, qualified_lead, sales_qualified_lead, opportunity_created,
--   meeting_scheduled, opportunity_qualified, demo_completed, negotiation_started, proposal_sent, customer_won (the
--   account's first win) or customer_expanded (every later win)
-- @column milestone_id [not_null]: the fact's id; `crm-attribution why` explains it
-- @column subtype: new, expansion or renewal, by the deal's pipeline (in a new one by dealtype); null for facts
--   without a deal
-- @column subject [not_null] [in person, deal, account]: what the fact is once per
-- @column state [not_null] [in live, reversed]: live, or reversed where it no longer holds
-- @column reason: why it is reversed: archived, reopened, lost_after_won
-- @column is_suppressed [not_null]: internal or test traffic by the mapping's rules
-- @column suppressed_by: the rule that says so
-- @column is_counted [not_null]: live and not suppressed: what every other table counts
-- @column is_imported [not_null]: HubSpot learned of it from an import, a migration or an integration
-- @column booked_on [not_null]: finance day in the account's time zone: close date of wins, else the day it happened
-- @column booked_month [not_null]: first day of that month
-- @column occurred_at [not_null]: when it happened, UTC
-- @column time_basis: where occurred_at comes from: history, closedate, createdate, became_date, date_entered, or
--   backdated (an opportunity typed in after its win): leave that one out of cycle times
-- @column observed_at [not_null]: when HubSpot recorded it, UTC
-- @column rule [not_null]: the rule that made it
-- @column linked_events [not_null] [>= 0]: how many HubSpot events tell this fact
-- @column account_id: the buying organisation: company:ID, domain:NAME where no
--   company has it, or deal:ID for a deal without company
-- @column account_name: company name; null for domain:NAME and deal:ID
-- @column account_domain: company domain; null for domain:NAME and deal:ID
-- @column deal_id: HubSpot deal id; null for facts about persons and for lifecycle changes without a deal
-- @column currency: ISO 4217 code of every amount in the row
-- @column currency_at_event: ISO 4217 code the deal had when it happened; where it was another, the amounts of that
--   moment are left out: they would stand beside the wrong code. events.milestone has them
-- @column amount_at_event_minor: deal amount when it happened, minor units
-- @column mrr_at_event_minor: monthly recurring revenue when it happened, minor units
-- @column arr_at_event_minor: annual recurring revenue when it happened, minor units
-- @column tcv_at_event_minor: total contract value when it happened, minor units
-- @column value_reason: why mrr, arr or tcv was null when it happened, by measure; null where none was missing
-- @column owner_id: HubSpot owner id of the deal or contact when it happened
-- @column owner_name: the owner's name, as it is now
-- @column amount_current_minor: deal amount now, minor units
-- @column mrr_current_minor: monthly recurring revenue now, minor units
-- @column arr_current_minor: annual recurring revenue now, minor units
-- @column tcv_current_minor: total contract value now, minor units
-- @column mrr_new_minor: what the fact adds to the account's MRR now, minor units; of a renewal only the change, which
--   may be negative
-- @column arr_new_minor: what the fact adds to the account's ARR now, minor units; of a renewal only the change
-- @column amount_current: deal amount now
-- @column mrr_current: monthly recurring revenue now
-- @column arr_current: annual recurring revenue now
-- @column tcv_current: total contract value now
-- @column mrr_new: what the fact adds to the account's monthly recurring revenue now; of a renewal only the change
-- @column arr_new: what the fact adds to the account's annual recurring revenue now; of a renewal only the change
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null without a value or home currency
-- @column rate: units of home_currency for one of currency, exact; null where none is known (marts.known_gaps)
-- @column rate_source [in home, deal, deal_amounts, table, table_earlier, deal_now]: where the rate comes from. home: it is
--   the home currency; deal: the won deal's own, kept by HubSpot from its close; deal_amounts: likewise, from its two
--   amounts; table: that of booked_on in inbox/rates; table_earlier: the last of the days before; deal_now: HubSpot's
--   present rate of a deal that is not won
-- @column rate_on: the day of a rate of the table
-- @column amount_home_minor: deal amount now in the home currency, minor units
-- @column mrr_home_minor: mrr_new in the home currency, minor units
-- @column arr_home_minor: arr_new in the home currency, minor units
-- @column tcv_home_minor: total contract value now in the home currency, minor units
-- @column amount_home: deal amount now in the home currency
-- @column mrr_home: mrr_new in the home currency
-- @column arr_home: arr_new in the home currency
-- @column tcv_home: total contract value now in the home currency
-- @unique: milestone, milestone_id, recorded_at
with fact as (
    select
        *,
        suppressed_by is not null as is_suppressed,
        date_trunc('month', booked_on)::date as booked_month
    from finance.milestone_version
)

select
    fact.recorded_at,
    fact.superseded_at,
    fact.milestone,
    fact.milestone_id,
    fact.subtype,
    fact.subject,
    fact.state,
    fact.reason,
    fact.is_suppressed,
    fact.suppressed_by,
    fact.state = 'live' and not fact.is_suppressed as is_counted,
    fact.imported as is_imported,
    fact.booked_on,
    fact.booked_month,
    fact.occurred_at,
    fact.time_basis,
    fact.observed_at,
    fact.rule,
    fact.linked_events,
    fact.account_id,
    fact.account_name,
    fact.account_domain,
    fact.deal_id::varchar as deal_id,
    fact.currency,
    fact.currency_at_event,
    case when fact.currency_at_event is not distinct from fact.currency then fact.amount_at_event end as amount_at_event_minor,
    case when fact.currency_at_event is not distinct from fact.currency then fact.mrr_at_event end as mrr_at_event_minor,
    case when fact.currency_at_event is not distinct from fact.currency then fact.arr_at_event end as arr_at_event_minor,
    case when fact.currency_at_event is not distinct from fact.currency then fact.tcv_at_event end as tcv_at_event_minor,
    fact.value_reason,
    fact.owner_id,
    seller.owner_name,
    fact.amount_current as amount_current_minor,
    fact.mrr_current as mrr_current_minor,
    fact.arr_current as arr_current_minor,
    fact.tcv_current as tcv_current_minor,
    fact.mrr_new as mrr_new_minor,
    fact.arr_new as arr_new_minor,
    fact.amount_current::decimal(19, 0) * currency.unit as amount_current,
    fact.mrr_current::decimal(19, 0) * currency.unit as mrr_current,
    fact.arr_current::decimal(19, 0) * currency.unit as arr_current,
    fact.tcv_current::decimal(19, 0) * currency.unit as tcv_current,
    fact.mrr_new::decimal(19, 0) * currency.unit as mrr_new,
    fact.arr_new::decimal(19, 0) * currency.unit as arr_new,
    fact.home_currency,
    fact.rate,
    fact.rate_source,
    fact.rate_on,
    fact.amount_home as amount_home_minor,
    fact.mrr_home as mrr_home_minor,
    fact.arr_home as arr_home_minor,
    fact.tcv_home as tcv_home_minor,
    fact.amount_home::decimal(19, 0) * home.unit as amount_home,
    fact.mrr_home::decimal(19, 0) * home.unit as mrr_home,
    fact.arr_home::decimal(19, 0) * home.unit as arr_home,
    fact.tcv_home::decimal(19, 0) * home.unit as tcv_home
from fact
left join staging.owner as seller on seller.owner_id = fact.owner_id
left join staging.currency as currency on currency.currency = fact.currency
left join staging.currency as home on home.currency = fact.home_currency
