-- What is known now is marts.milestone, row by row and to the last digit.
with known as (
    select * exclude (recorded_at, superseded_at)
    from marts.milestone_history
    where superseded_at is null
)

select 'not known' as what, * from (select * from marts.milestone except all select * from known)
union all
select 'known, not so', * from (select * from known except all select * from marts.milestone)
