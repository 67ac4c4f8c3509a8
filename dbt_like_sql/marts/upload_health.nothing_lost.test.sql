-- Per destination and state the table counts every planned conversion, and every send of one.
with sends as (
    select conversion_id, count(left_at) as sends
    from delivery.attempt
    group by conversion_id
),

expected as (
    select
        conversion.destination, conversion.state, count(*) as conversions,
        coalesce(sum(sends.sends), 0)::bigint as sends
    from conversions.conversion as conversion
    left join sends on sends.conversion_id = conversion.conversion_id
    group by conversion.destination, conversion.state
),

shown as (
    select destination, state, sum(conversions)::bigint as conversions, sum(sends)::bigint as sends
    from marts.upload_health
    group by destination, state
)

select 'missing' as what, * from (select * from expected except select * from shown)
union all
select 'not in conversions.conversion', * from (select * from shown except select * from expected)
