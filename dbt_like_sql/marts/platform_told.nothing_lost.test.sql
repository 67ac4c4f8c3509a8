-- Every send has one answer, and of every conversion of a request that a platform took something is said.
with told as (
    select
        destination,
        coalesce(sum(conversions) filter (where outcome = 'sent'), 0) as sent,
        coalesce(sum(conversions) filter (where outcome in ('accepted', 'refused', 'unknown')), 0) as answered,
        coalesce(sum(conversions) filter (where outcome in ('processed', 'failed', 'waiting', 'not_told')), 0) as said
    from marts.platform_told
    group by destination
),

taken as (
    select destination, sum(conversions) as conversions
    from delivery.receipt
    group by destination
)

select told.*, taken.conversions
from told
left join taken on taken.destination = told.destination
where told.sent <> told.answered or told.said < coalesce(taken.conversions, 0)
