-- Of every campaign that HubSpot reports revenue of, the classes add up to the report, and its figure of the marts is what
-- marts.deal_attribution credits to it.
with shown as (
    select
        campaign_id,
        min(campaign) as campaign,
        min(currency) as currency,
        count(*) filter (where class = 'hubspot') as reports,
        sum(amount_minor) filter (where class = 'hubspot')::bigint as hubspot,
        sum(amount_minor) filter (where class <> 'hubspot')::bigint as explained,
        coalesce(sum(amount_minor) filter (where class = 'marts'), 0)::bigint as marts
    from marts.campaign_reconciliation
    group by campaign_id
),

credited as (
    select
        touch.campaign,
        credit.home_currency,
        credit.currency,
        sum(credit.credit_minor)::bigint as own,
        sum(credit.credit_home_minor)::bigint as home
    from marts.deal_attribution as credit
    join attribution.touch as touch on touch.touch_id = credit.touch_id
    where
        credit.model = 'linear' and credit.scope = 'account' and credit.measure = 'amount' and credit.deal_id is not null
        and credit.milestone in ('customer_won', 'customer_expanded')
    group by all
),

expected as (
    select
        shown.campaign_id,
        coalesce(
            sum(
                case
                    when credited.home_currency = shown.currency then credited.home
                    when credited.currency = shown.currency then credited.own
                end
            ), 0
        )::bigint as credited
    from shown
    left join credited on credited.campaign = shown.campaign
    group by shown.campaign_id
)

select shown.campaign_id, shown.hubspot, shown.explained, shown.marts, expected.credited, told.revenue
from shown
join expected on expected.campaign_id = shown.campaign_id
full join (select campaign_id, revenue from raw.campaign where revenue is not null) as told
    on told.campaign_id = shown.campaign_id
where
    exists (select 1 from attribution.credit where model = 'linear' and superseded_at is null)
    and (
        shown.reports is distinct from 1
        or (shown.hubspot, shown.explained, shown.marts) is distinct from (told.revenue, told.revenue, expected.credited)
    )
