-- Of every month and currency HubSpot's total is the warehouse's, but for what is named, and the warehouse's is the marts'.
with zone as (
    select coalesce(min(time_zone), 'UTC') as time_zone from staging.account
)

select
    total.booked_month, total.currency, total.hubspot_minor, total.warehouse_minor, total.marts_minor, total.difference_minor,
    string_agg(distinct deal.deal_id, ', ' order by deal.deal_id) as deal_id
from marts.reconciliation as total
cross join zone
left join staging.deal as deal
    on
        deal.currency = total.currency
        and date_trunc('month', (deal.close_date at time zone zone.time_zone))::date = total.booked_month
        and deal.deal_id in (
            select fact.deal_id::varchar
            from events.milestone as fact
            join staging.deal as same on same.deal_id = fact.deal_id::varchar
            where fact.state = 'live' and fact.amount_current is distinct from same.amount_minor
        )
where total.difference_minor <> 0 or (total.warehouse_minor <> total.marts_minor and total.marts_minor <> 0)
group by all
