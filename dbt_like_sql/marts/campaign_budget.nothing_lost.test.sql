-- Every campaign of HubSpot's own once with its budget, and what was spent on it as marts.spend has it, to the cent.
with spent as (
    select
        campaign_id, currency, sum(amount_minor)::bigint as spent_minor,
        sum(case when is_counted then amount_minor else 0 end)::bigint as counted_minor
    from marts.spend
    where platform = 'hubspot'
    group by campaign_id, currency
),

told as (
    select
        campaign.campaign_id, campaign.currency, campaign.budget as budget_minor,
        coalesce(spent.spent_minor, 0) as spent_minor, coalesce(spent.counted_minor, 0) as counted_minor
    from raw.campaign as campaign
    left join spent on spent.campaign_id = campaign.campaign_id and spent.currency = campaign.currency
),

shown as (
    select campaign_id, currency, budget_minor, spent_minor, counted_minor
    from marts.campaign_budget
)

select case when sum(side) > 0 then 'told, not shown' else 'shown, not told' end as what, * exclude (side)
from (select 1 as side, * from told union all select -1, * from shown)
group by all
having sum(side) <> 0
union all
select 'spent on no campaign', spent.campaign_id, spent.currency, null, spent.spent_minor, spent.counted_minor
from spent
left join shown on shown.campaign_id = spent.campaign_id and shown.currency = spent.currency
where shown.campaign_id is null
