-- Every figure of marts.revenue_attribution as it was known at any time: per outcome, model, scope, measure and what its
-- touches are called, the credit, from `recorded_at` until `superseded_at`. As of an instant T: the rows with
-- recorded_at <= T and (superseded_at is null or superseded_at > T), added up (docs/finance.md has the query). Always
-- pick one instant, model, scope and measure, and one currency for money.
--
-- What is known is known as of the end of an hour: an hour that runs again replaces what it had recorded. Credit of a
-- touch whose labels were never recorded (it is older than this table, and gone) has the channel Unknown.
--
-- @audience: finance
-- @incremental: milestone, milestone_id
-- @follows: attribution.credit, finance.milestone_version, finance.revenue_version
-- @follows: finance.touch_version by touch_id in attribution.credit
-- @column recorded_at [not_null]: known from, UTC
-- @column superseded_at: known until, UTC; null is now
-- @column posted_month [not_null]: first day of the month in which recording it is posted: booked_month, or where that was
--   closed by then the first month that was open
-- @column reversed_month: first day of the month in which superseding it is posted; null while it holds
-- @column booked_on [not_null]: finance day in the account's time zone, as it was known
-- @column booked_month [not_null]: first day of that month
-- @column milestone [not_null]: the outcome
-- @column milestone_id [not_null]: its id; `crm-attribution why` explains it
-- @column deal_id: HubSpot deal id, as it was known
-- @column subtype: new, expansion or renewal, as it was known
-- @column model [not_null]: attribution model
-- @column scope [not_null] [in account, deal_contacts]: whose touches count
-- @column measure [not_null] [in count, amount, mrr, arr, tcv]: what is credited
-- @column currency: ISO 4217 code of money; null for count
-- @column channel [not_null]: channel of the touch, or Unattributed
-- @column unattributed_reason: why no touch gets it
-- @column source: source of the touch
-- @column medium: medium of the touch
-- @column campaign: campaign of the touch
-- @column credit_minor [not_null]: credit in millionths of an outcome for count, else in minor units of the currency
-- @column credit [not_null]: the same in outcomes or in the currency's unit, exact
-- @column home_currency: home currency of the HubSpot account; null for count, and without a rate
-- @column credit_home_minor: credit in the home currency, minor units
-- @column credit_home: the same in the home currency's unit, exact
-- @unique: recorded_at, superseded_at, booked_on, milestone, milestone_id, deal_id, subtype, model, scope, measure, currency,
--   channel, unattributed_reason, source, medium, campaign, home_currency
with known as (
    select
        greatest(credit.recorded_at, outcome.since, touch.recorded_at) as recorded_at,
        least(credit.superseded_at, outcome.until, touch.superseded_at) as superseded_at,
        outcome.booked_on,
        date_trunc('month', outcome.booked_on)::date as booked_month,
        credit.milestone,
        credit.milestone_id,
        outcome.deal_id,
        outcome.subtype,
        credit.model,
        credit.scope,
        credit.measure,
        nullif(credit.currency, '') as currency,
        case when credit.touch_id = '' then 'Unattributed' else coalesce(touch.channel, 'Unknown') end as channel,
        credit.unattributed_reason,
        touch.source,
        touch.medium,
        touch.campaign,
        credit.home_currency,
        sum(credit.credit)::bigint as credit_minor,
        sum(credit.credit_home)::bigint as credit_home_minor
    from attribution.credit as credit
    join staging.outcome_label as outcome
        on
            outcome.milestone = credit.milestone and outcome.milestone_id = credit.milestone_id
            and (outcome.until is null or outcome.until > credit.recorded_at)
            and (credit.superseded_at is null or credit.superseded_at > outcome.since)
    left join finance.touch_version as touch
        on
            touch.touch_id = credit.touch_id
            and (touch.superseded_at is null or touch.superseded_at > greatest(credit.recorded_at, outcome.since))
            and (
                least(credit.superseded_at, outcome.until) is null
                or least(credit.superseded_at, outcome.until) > touch.recorded_at
            )
    group by all
)

select
    known.recorded_at,
    known.superseded_at,
    greatest(known.booked_month, posted.first_open) as posted_month,
    case when known.superseded_at is not null then greatest(known.booked_month, reversed.first_open) end as reversed_month,
    known.booked_on,
    known.booked_month,
    known.milestone,
    known.milestone_id,
    known.deal_id,
    known.subtype,
    known.model,
    known.scope,
    known.measure,
    known.currency,
    known.channel,
    known.unattributed_reason,
    known.source,
    known.medium,
    known.campaign,
    known.credit_minor,
    case
        when known.measure = 'count' then known.credit_minor::decimal(19, 0) * 0.000001::decimal(7, 6)
        else known.credit_minor::decimal(19, 0) * currency.unit::decimal(7, 6)
    end as credit,
    known.home_currency,
    known.credit_home_minor,
    known.credit_home_minor::decimal(19, 0) * home.unit as credit_home
from known
left join staging.period_lock as posted
    on known.recorded_at > posted.since and (posted.until is null or known.recorded_at <= posted.until)
left join staging.period_lock as reversed
    on known.superseded_at > reversed.since and (reversed.until is null or known.superseded_at <= reversed.until)
left join staging.currency as currency on currency.currency = known.currency
left join staging.currency as home on home.currency = known.home_currency
