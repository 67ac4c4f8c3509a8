-- Every account with a live, unsuppressed fact has its row, and no other account has one.
with expected as (
    select distinct account_id
    from events.milestone
    where state = 'live' and suppressed_by is null and account_id is not null
),

shown as (
    select account_id from marts.account_progress
)

select 'missing' as what, * from (select * from expected except select * from shown)
union all
select 'without a fact', * from (select * from shown except select * from expected)
