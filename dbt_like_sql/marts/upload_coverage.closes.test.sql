-- What may be uploaded is uploaded, waits, was refused or expired, and no conversion of the outbox is missing.
select destination, action, occurred_month, eligible, uploaded, waiting, refused, expired
from marts.upload_coverage
where eligible <> uploaded + waiting + refused + expired
union all
select planned.destination, planned.action, null, planned.conversions, shown.conversions, null, null, null
from (
    select destination, action, count(*) as conversions
    from conversions.conversion
    where kind = 'conversion'
    group by destination, action
) as planned
left join (
    select destination, action, sum(eligible + suppressed)::bigint as conversions
    from marts.upload_coverage
    group by destination, action
) as shown on shown.destination = planned.destination and shown.action = planned.action
where planned.conversions is distinct from shown.conversions
