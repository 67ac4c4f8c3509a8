-- Per currency, open amounts are those of the open deals and won amounts those of the live wins, none lost or twice.
with expected as (
    select
        currency,
        sum(open_amount)::bigint as open_amount,
        sum(won_amount)::bigint as won_amount
    from (
        select currency, amount_minor as open_amount, 0 as won_amount
        from marts.pipeline
        where status = 'open' and not is_suppressed and account_id is not null and amount_minor is not null
        union all
        select currency, 0, amount_current
        from events.milestone
        where
            state = 'live'
            and suppressed_by is null
            and account_id is not null
            and milestone in ('customer_won', 'customer_expanded')
            and amount_current is not null
    )
    group by currency
    having sum(open_amount) <> 0 or sum(won_amount) <> 0
),

shown as (
    select currency, sum(open_amount_minor)::bigint as open_amount, sum(won_amount_minor)::bigint as won_amount
    from marts.account_value
    group by currency
    having sum(open_amount_minor) <> 0 or sum(won_amount_minor) <> 0
)

select 'missing' as what, * from (select * from expected except select * from shown)
union all
select 'too much', * from (select * from shown except select * from expected)
