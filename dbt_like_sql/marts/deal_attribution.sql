-- One row per outcome, model, scope, measure and touch: what each touch gets of each deal, and for what no touch gets a row
-- without a touch that says why. Per outcome, model, scope and measure credit adds up to the outcome exactly. The rows behind
-- marts.revenue_attribution: always pick one model, one scope, one measure, and one currency for money. Rows of nothing
-- (credit 0 of money) are left out, those of the measure count are not.
--
-- Touches are named by their id and the HubSpot contact that acted; both lead to their record with `crm-attribution why`.
--
-- @audience: finance, marketing
-- @incremental: milestone, milestone_id
-- @follows: attribution.credit, attribution.journey, events.milestone, events.revenue
-- @follows: attribution.touch, attribution.self_reported by touch_id in attribution.credit
-- @follows: identity.account by account_id in events.milestone, account_id in events.revenue
-- @column milestone [not_null]: the outcome, one of the mapping's attribution.outcomes
-- @column milestone_id [not_null]: its id, in marts.milestone; of movements of revenue in marts.revenue_movement
-- @column booked_on [not_null]: finance day in the account's time zone: close date of wins, else the day it happened
-- @column booked_month [not_null]: first day of that month
-- @column occurred_at [not_null]: when the outcome happened, UTC
-- @column subtype: new, expansion or renewal, by the deal's pipeline; null without a deal
-- @column account_id: the buying organisation: company:ID, domain:NAME or deal:ID
-- @column account_name: company name; null for domain:NAME and deal:ID
-- @column deal_id: HubSpot deal id; null without a deal
-- @column model [not_null]: attribution model
-- @column scope [not_null] [in account, deal_contacts]: whose touches count
-- @column measure [not_null] [in count, amount, mrr, arr, tcv]: what is credited, as in marts.revenue_attribution
-- @column touch_id: the touch; null where no touch gets it
-- @column unattributed_reason: why no touch gets it, as in marts.revenue_attribution; null where one does
-- @column touched_at: when the touch happened, UTC
-- @column days_before: days from the touch to the outcome, whole ones, rounded down
-- @column position [>= 1]: place of the touch among those of the outcome that any model credits, in the order of time
-- @column touches [>= 0]: how many touches the outcome is shared among, whatever the model
-- @column kind: what the touch is: link_click, email_click, form_submission, …; self_reported for an answer
-- @column contact_id: HubSpot contact that acted; null for a shared mailbox
-- @column channel [not_null]: channel of the touch, or Unattributed
-- @column source: source of the touch (utm_source)
-- @column medium: medium of the touch (utm_medium)
-- @column campaign: campaign of the touch (utm_campaign)
-- @column weight [>= 0] [<= 1]: share of the outcome that the model gives the touch, in millionths; money is shared by exact
--   weights and then rounded so that it adds up
-- @column currency: ISO 4217 code of money; null for count
-- @column credit_minor [not_null]: credit in millionths of an outcome for count, else in minor units of the currency
-- @column credit [not_null]: the same in outcomes or in the currency's unit, exact
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null for count, and without a rate
-- @column credit_home_minor: credit in the home currency, minor units
-- @column credit_home: the same in the home currency's unit, exact
-- @unique: milestone, milestone_id, model, scope, measure, touch_id
with outcome as (
    select milestone, milestone_id, subtype, booked_on, occurred_at, account_id, deal_id
    from events.milestone
    where state = 'live' and suppressed_by is null
    union all
    select milestone, milestone_id, subtype, booked_on, occurred_at, account_id, deal_id
    from events.revenue
),

touch as (
    select
        touch_id,
        touched_at,
        kind,
        contact_id,
        channel,
        withheld(source) as source,
        withheld(medium) as medium,
        withheld(campaign) as campaign
    from attribution.touch
    union all
    select touch_id, touched_at, 'self_reported', contact_id, channel, null, null, null
    from attribution.self_reported
),

credit as (
    select * exclude (superseded_at)
    from attribution.credit
    where superseded_at is null
),

counted as (
    select milestone, milestone_id, model, scope, touch_id, credit as weight
    from credit
    where measure = 'count'
),

journey as (
    select distinct counted.milestone, counted.milestone_id, counted.scope, counted.touch_id, touch.touched_at
    from counted
    join touch on touch.touch_id = counted.touch_id
    where touch.kind <> 'self_reported'
),

place as (
    select
        milestone,
        milestone_id,
        scope,
        touch_id,
        row_number() over (partition by milestone, milestone_id, scope order by touched_at, touch_id) as position
    from journey
),

company as (
    select account_id, name
    from identity.account
    where company_id is not null
)

select
    credit.milestone,
    credit.milestone_id,
    outcome.booked_on,
    date_trunc('month', outcome.booked_on)::date as booked_month,
    outcome.occurred_at,
    outcome.subtype,
    outcome.account_id,
    company.name as account_name,
    outcome.deal_id::varchar as deal_id,
    credit.model,
    credit.scope,
    credit.measure,
    nullif(credit.touch_id, '') as touch_id,
    credit.unattributed_reason,
    touch.touched_at,
    date_sub('day', touch.touched_at, outcome.occurred_at) as days_before,
    place.position,
    led.touches,
    touch.kind,
    touch.contact_id::varchar as contact_id,
    case when credit.touch_id = '' then 'Unattributed' else touch.channel end as channel,
    touch.source,
    touch.medium,
    touch.campaign,
    case when credit.touch_id <> '' then counted.weight::decimal(19, 0) * 0.000001::decimal(7, 6) end as weight,
    nullif(credit.currency, '') as currency,
    credit.credit as credit_minor,
    case
        when credit.measure = 'count' then credit.credit::decimal(19, 0) * 0.000001::decimal(7, 6)
        else credit.credit::decimal(19, 0) * currency.unit::decimal(7, 6)
    end as credit,
    credit.home_currency,
    credit.credit_home as credit_home_minor,
    credit.credit_home::decimal(19, 0) * home.unit as credit_home
from credit
join outcome on outcome.milestone = credit.milestone and outcome.milestone_id = credit.milestone_id
left join touch on touch.touch_id = credit.touch_id
left join counted
    on
        counted.milestone = credit.milestone and counted.milestone_id = credit.milestone_id
        and counted.model = credit.model and counted.scope = credit.scope and counted.touch_id = credit.touch_id
left join place
    on
        place.milestone = credit.milestone and place.milestone_id = credit.milestone_id
        and place.scope = credit.scope and place.touch_id = credit.touch_id
left join attribution.journey as led
    on
        led.milestone = credit.milestone and led.milestone_id = credit.milestone_id and led.scope = credit.scope
left join company on company.account_id = outcome.account_id
left join staging.currency as currency on currency.currency = credit.currency
left join staging.currency as home on home.currency = credit.home_currency
where credit.measure = 'count' or credit.credit <> 0 or coalesce(credit.credit_home, 0) <> 0
