-- Per milestone and currency, facts and money add up to those of events.milestone.
with expected as (
    select
        milestone, currency, count(*) as milestones, sum(amount_current)::bigint as amount,
        sum(mrr_new)::bigint as mrr, sum(arr_new)::bigint as arr, sum(tcv_current)::bigint as tcv
    from events.milestone
    where state = 'live' and suppressed_by is null and (deal_id is not null or subject = 'account')
    group by milestone, currency
),

shown as (
    select
        milestone, currency, sum(milestones)::bigint as milestones, sum(amount_minor)::bigint as amount,
        sum(mrr_minor)::bigint as mrr, sum(arr_minor)::bigint as arr, sum(tcv_minor)::bigint as tcv
    from marts.funnel_value
    group by milestone, currency
)

select 'missing' as what, * from (select * from expected except select * from shown)
union all
select 'not in events.milestone', * from (select * from shown except select * from expected)
