-- It is what marts.revenue_history knows now, row by row and to the last digit.
with known as (
    select * exclude (recorded_at, superseded_at, posted_month, reversed_month)
    from marts.revenue_history
    where superseded_at is null
)

select 'not known' as what, * from (select * from marts.revenue_movement except all select * from known)
union all
select 'known, not so', * from (select * from known except all select * from marts.revenue_movement)
