-- One row per day, outcome, subtype, attribution model, scope, measure, currency, channel, source, medium and campaign:
-- the credit that marketing touches get for outcomes. What no touch explains stands in the channel Unattributed with its
-- reason, so for each model, scope and measure the credit adds up to all outcomes exactly. Always pick one model, one
-- scope and one measure, and one currency for money: adding several of them up counts everything several times. Only
-- current credit counts; reversed outcomes and internal or test traffic (suppressed milestones) have none. mrr and arr
-- are what an outcome adds: of a renewal only the change, which may be negative. Filter on subtype to leave renewals out.
-- customer_won and customer_expanded show wins at what they are worth now. revenue_contracted and revenue_churned show what
-- wins lost later, on that day, as amounts were then, at the touches of the win; of wins as they were booked show
-- revenue_new and revenue_expanded, where the mapping names them. Never add rows of the two kinds up: filter on milestone.
--
-- The model self_reported shares outcomes among what people say brought them, and not among touches: never beside the
-- others in one sum. Credit follows the touches (of the whole account, of a deal without company those of its contacts) within the mapping's
-- look-back windows.
--
-- Months that are closed (marts.period) never move: what changes afterwards is a row with is_adjustment, posted to the
-- first open month, with the difference, which may be negative. Add up over posted_month for the books as they were
-- closed, over booked_month for what is so now; over all months the two are equal. What looks like an e-mail address in a source, medium or campaign is withheld.
--
-- @audience: finance, marketing
-- @column booked_on [not_null]: finance day in the account's time zone: close date of wins, else the day it happened
-- @column booked_month [not_null]: first day of that month: sums over it show what is so now
-- @column posted_month [not_null]: first day of the month in which the row is in the books: booked_month, of an adjustment the
--   first month that was open when it was recorded: sums over it never change for a closed month
-- @column is_adjustment [not_null]: recorded after booked_month was closed
-- @column milestone [not_null]: the outcome, one of the mapping's attribution.outcomes; as shipped
--   opportunity_created, customer_won, customer_expanded, revenue_contracted, revenue_churned
-- @column subtype: new, expansion or renewal, by the deal's pipeline; null without a deal
-- @column model [not_null]: attribution model, one of the mapping's attribution.models; as shipped first_touch,
--   last_touch, linear; or a variant of one
-- @column scope [not_null] [in account, deal_contacts]: whose touches count: of all people of the account, or of the
--   deal's contacts only; as shipped there is account alone
-- @column measure [not_null] [in count, amount, mrr, arr, tcv]: what is credited: outcomes, or money by its kind;
--   mrr and arr are the new ones (marts.milestone mrr_new, arr_new), amount and tcv those of now
-- @column currency: ISO 4217 code of money; null for count
-- @column channel [not_null]: channel of the touch, or Unattributed
-- @column unattributed_reason: why no touch gets it; null where one does. no_account: neither account nor person is known;
--   no_contact_on_deal; contact_created_later: only touches of contacts created after the outcome; before_previous_win:
--   the touches in the window lie before the account's previous win; only_bot_clicks: nothing else in the window;
--   outside_window: only touches before it; after_outcome: only later ones; no_touch: none at all; no_weight: the model
--   gives its touches nothing
-- @column source: source of the touch (utm_source)
-- @column medium: medium of the touch (utm_medium)
-- @column campaign: campaign of the touch (utm_campaign)
-- @column credit_minor [not_null]: credit in millionths of an outcome for count, else in minor units of the currency
-- @column credit [not_null]: the same in outcomes or in the currency's unit, exact
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null for count, and where no rate turns the
--   outcome's currency into it (marts.known_gaps, rate_missing)
-- @column credit_home_minor: credit in the home currency, minor units: each outcome is converted once by its own rate
--   (marts.milestone) and then split, so it adds up over channels and over currencies; null with home_currency
-- @column credit_home: the same in the home currency's unit, exact
-- @unique: booked_on, posted_month, milestone, subtype, model, scope, measure, currency, channel, unattributed_reason, source, medium,
--   campaign, home_currency
with outcome as (
    select milestone, milestone_id, subtype, booked_on
    from events.milestone
    where state = 'live' and suppressed_by is null
    union all
    select milestone, milestone_id, subtype, booked_on
    from events.revenue
),

touch as (
    select
        touch_id,
        channel,
        withheld(source) as source,
        withheld(medium) as medium,
        withheld(campaign) as campaign
    from attribution.touch
    union all
    select touch_id, channel, null, null, null
    from attribution.self_reported
),

closed as (
    select coalesce(max(month), '0001-01-01'::date) as through
    from finance.period
    where state = 'closed'
),

credited as (
    select
        outcome.booked_on,
        date_trunc('month', outcome.booked_on)::date as posted_month,
        outcome.milestone,
        outcome.subtype,
        credit.model,
        credit.scope,
        credit.measure,
        nullif(credit.currency, '') as currency,
        case when credit.touch_id = '' then 'Unattributed' else touch.channel end as channel,
        credit.unattributed_reason,
        touch.source,
        touch.medium,
        touch.campaign,
        credit.home_currency,
        sum(credit.credit)::bigint as credit_minor,
        sum(credit.credit_home)::bigint as credit_home_minor
    from attribution.credit as credit
    join outcome on outcome.milestone = credit.milestone and outcome.milestone_id = credit.milestone_id
    left join touch on touch.touch_id = credit.touch_id
    cross join closed
    where credit.superseded_at is null and date_trunc('month', outcome.booked_on) > closed.through
    group by all
),

-- of months that were ever closed: each recording and each superseding in the month it is posted to
posting as (
    select history.*, history.posted_month as month, 1 as sign
    from marts.credit_history as history
    cross join closed
    where
        history.booked_month <= closed.through
        and history.reversed_month is distinct from history.posted_month
    union all
    select history.*, history.reversed_month, -1
    from marts.credit_history as history
    cross join closed
    where history.booked_month <= closed.through and history.reversed_month <> history.posted_month
),

posted as (
    select
        booked_on, month as posted_month, milestone, subtype, model, scope, measure, currency, channel, unattributed_reason,
        source, medium, campaign, home_currency,
        sum(sign * credit_minor)::bigint as credit_minor,
        sum(sign * credit_home_minor)::bigint as credit_home_minor
    from posting
    group by all
    having sum(sign) > 0 or sum(sign * credit_minor) <> 0 or sum(sign * credit_home_minor) <> 0
),

shown as (
    select * from credited
    union all by name
    select * from posted
)

select
    shown.booked_on,
    date_trunc('month', shown.booked_on)::date as booked_month,
    shown.posted_month,
    shown.posted_month <> date_trunc('month', shown.booked_on) as is_adjustment,
    shown.milestone,
    shown.subtype,
    shown.model,
    shown.scope,
    shown.measure,
    shown.currency,
    shown.channel,
    shown.unattributed_reason,
    shown.source,
    shown.medium,
    shown.campaign,
    shown.credit_minor,
    case
        when shown.measure = 'count' then shown.credit_minor::decimal(19, 0) * 0.000001::decimal(7, 6)
        else shown.credit_minor::decimal(19, 0) * currency.unit::decimal(7, 6)
    end as credit,
    shown.home_currency,
    shown.credit_home_minor,
    shown.credit_home_minor::decimal(19, 0) * home.unit as credit_home
from shown
left join staging.currency as currency on currency.currency = shown.currency
left join staging.currency as home on home.currency = shown.home_currency
