-- Every movement of revenue is known now, once, with its amount.
with known as (
    select milestone, milestone_id, booked_on, currency, arr_minor as arr
    from marts.revenue_history
    where superseded_at is null
),

moved as (
    select milestone, milestone_id, booked_on, currency, arr
    from events.revenue
)

select 'not known' as what, * from (select * from moved except all select * from known)
union all
select 'known, not so', * from (select * from known except all select * from moved)
