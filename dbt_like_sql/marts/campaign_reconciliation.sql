-- Why HubSpot's own revenue report of a campaign says another figure than the marts, where the mapping reads it
-- (streams.campaign_revenue): one row per campaign of HubSpot's own, class and deal. Both by the linear model, of all times. The
-- rows of a campaign without those of the class hubspot add up to its row of that class, to the minor unit; what no class
-- explains has a row of its own.
--
-- The classes are steps from our figure to theirs, each a difference to the one before it: marts, what the marts credit to the
-- campaign (scope account); without_contacts, deals that no contact belongs to, which HubSpot's report leaves out; other_touches,
-- the same shared among touches of the deal's contacts that HubSpot knows itself (no tracked links, nothing from files); window,
-- the same without our look-back, and with repeated touches counted again; currency, the same by the amount in company currency
-- that HubSpot has at the deal.
--
-- @audience: finance, marketing
-- @column campaign_id [not_null]: HubSpot's id of the campaign
-- @column campaign_name: its name in HubSpot; null where it has none
-- @column campaign: what the touches of it are called: its UTM campaign, else its name, as touches spell it
-- @column step [not_null] [>= 1] [<= 7]: place of the class
-- @column class [not_null] [in marts, without_contacts, other_touches, window, currency, unexplained, hubspot]: see above
-- @column deal_id: the deal the row is about; null for unexplained and hubspot, which HubSpot tells for all deals together
-- @column currency [not_null]: ISO 4217 code of HubSpot's report; a deal that has no amount in it counts from the class currency on
-- @column amount_minor [not_null]: marts and hubspot: the figure; others: what the class adds, minor units
-- @column amount: the same in the currency's unit
-- @column hubspot_deals: hubspot: deals in HubSpot's report
-- @unique: campaign_id, class, deal_id
with step (step, class) as (
    values
        (1, 'marts'), (2, 'without_contacts'), (3, 'other_touches'), (4, 'window'), (5, 'currency'), (6, 'unexplained'),
        (7, 'hubspot')
),

reported as (
    select
        told.campaign_id,
        nullif(withheld(told.name), '') as campaign_name,
        case when told.utm_campaign is null then named.campaign_of_name else named.campaign_of_id end as campaign,
        told.revenue_currency as currency,
        told.revenue,
        told.revenue_deals
    from raw.campaign as told
    left join attribution.spend_campaign as named
        on
            named.platform = 'hubspot' and named.ad_account = told.portal_id and named.campaign_id = told.campaign_id
            and named.campaign_name = told.name
    where
        told.revenue is not null
        and exists (select 1 from attribution.credit where model = 'linear' and superseded_at is null)
),

won as (
    select
        fact.milestone,
        fact.milestone_id,
        fact.deal_id::varchar as deal_id,
        fact.occurred_at,
        fact.currency,
        fact.amount_current as amount,
        value.home_currency,
        value.amount_home,
        coalesce(
            (try_cast(deal.properties ->> '$.amount_in_home_currency' as decimal(28, 6)) / home.unit)::bigint, value.amount_home
        ) as amount_in_hubspot
    from events.milestone as fact
    left join events.home_value as value
        on value.milestone = fact.milestone and value.milestone_id = fact.milestone_id
    left join staging.currency as home on home.currency = value.home_currency
    left join raw.deal as deal on deal.id = fact.deal_id
    where
        fact.milestone in ('customer_won', 'customer_expanded')
        and fact.state = 'live'
        and fact.suppressed_by is null
        and fact.deal_id is not null
        and exists (select 1 from reported)
),

member as (
    select distinct held.from_id as deal_id, alias.person_id
    from staging.association as held
    join identity.alias as alias on alias.identifier_type = 'contact' and alias.identifier = held.to_id
    where held.from_type = 'deals' and held.to_type = 'contacts'
),

credited as (
    select credit.milestone, credit.milestone_id, credit.measure, credit.touch_id, touch.campaign, credit.currency,
        credit.credit, credit.home_currency, credit.credit_home
    from attribution.credit as credit
    join attribution.touch as touch on touch.touch_id = credit.touch_id
    where
        credit.superseded_at is null
        and credit.model = 'linear'
        and credit.scope = 'account'
        and exists (select 1 from reported)
),

heard as (
    select won.milestone, won.milestone_id, touch.campaign, ours.touch_id is not null as is_ours
    from won
    join member on member.deal_id = won.deal_id
    join attribution.touch as touch on touch.person_id = member.person_id and touch.touched_at <= won.occurred_at
    left join credited as ours
        on
            ours.milestone = won.milestone and ours.milestone_id = won.milestone_id and ours.touch_id = touch.touch_id
            and ours.measure = 'count'
    where touch.kind not in ('link_click', 'offline_touch')
),

shared as (
    select
        milestone,
        milestone_id,
        campaign,
        count(*) filter (where is_ours) as mine,
        count(*) as theirs,
        sum(count(*) filter (where is_ours)) over (partition by milestone, milestone_id)::bigint as all_mine,
        sum(count(*)) over (partition by milestone, milestone_id)::bigint as all_theirs
    from heard
    group by milestone, milestone_id, campaign
),

credit_of as (
    select
        reported.campaign_id,
        credited.milestone,
        credited.milestone_id,
        sum(
            case
                when credited.home_currency = reported.currency then credited.credit_home
                when credited.currency = reported.currency then credited.credit
            end
        )::bigint as marts
    from reported
    join credited on credited.campaign = reported.campaign and credited.measure = 'amount'
    group by reported.campaign_id, credited.milestone, credited.milestone_id
),

worth as (
    select
        reported.campaign_id,
        won.*,
        case
            when won.home_currency = reported.currency then won.amount_home
            when won.currency = reported.currency then won.amount
        end as mine,
        case
            when won.currency = reported.currency then won.amount
            when won.home_currency = reported.currency then won.amount_in_hubspot
        end as theirs
    from reported
    cross join won
),

figure as (
    select
        worth.campaign_id,
        worth.deal_id,
        coalesce(credit_of.marts, 0) as marts,
        case when worth.deal_id in (select deal_id from member) then coalesce(credit_of.marts, 0) else 0 end as with_contacts,
        coalesce(
            (2 * worth.mine::hugeint * shared.mine + shared.all_mine) // nullif(2 * shared.all_mine, 0), 0
        ) as known_to_hubspot,
        coalesce((2 * worth.mine::hugeint * shared.theirs + shared.all_theirs) // (2 * shared.all_theirs), 0) as of_all_times,
        coalesce((2 * worth.theirs::hugeint * shared.theirs + shared.all_theirs) // (2 * shared.all_theirs), 0) as in_company
    from worth
    join reported on reported.campaign_id = worth.campaign_id
    left join credit_of
        on
            credit_of.campaign_id = worth.campaign_id and credit_of.milestone = worth.milestone
            and credit_of.milestone_id = worth.milestone_id
    left join shared
        on
            shared.milestone = worth.milestone and shared.milestone_id = worth.milestone_id
            and shared.campaign = reported.campaign
    where credit_of.marts is not null or shared.theirs is not null
),

summed as (
    select campaign_id, sum(in_company)::bigint as explained
    from figure
    group by campaign_id
),

part as (
    select
        campaign_id,
        deal_id,
        unnest(['marts', 'without_contacts', 'other_touches', 'window', 'currency']) as class,
        unnest([
            marts, with_contacts - marts, known_to_hubspot - with_contacts, of_all_times - known_to_hubspot,
            in_company - of_all_times
        ]) as amount
    from figure
),

line as (
    select campaign_id, class, deal_id, sum(amount)::bigint as amount, null::bigint as hubspot_deals
    from part
    group by campaign_id, class, deal_id
    having sum(amount) <> 0
    union all
    select reported.campaign_id, 'unexplained', null, reported.revenue - coalesce(summed.explained, 0), null
    from reported
    left join summed on summed.campaign_id = reported.campaign_id
    union all
    select campaign_id, 'hubspot', null, revenue, revenue_deals
    from reported
)

select
    reported.campaign_id,
    reported.campaign_name,
    reported.campaign,
    step.step,
    line.class,
    line.deal_id,
    reported.currency,
    line.amount as amount_minor,
    line.amount::decimal(19, 0) * unit.unit as amount,
    line.hubspot_deals
from line
join reported on reported.campaign_id = line.campaign_id
join step on step.class = line.class
left join staging.currency as unit on unit.currency = reported.currency
