-- Per day, platform, ad account and currency the amounts, clicks and impressions are those of raw.ad_spend exactly.
with told as (
    select
        date as spent_on, platform, ad_account, currency,
        sum(amount)::bigint as amount, sum(clicks)::bigint as clicks, sum(impressions)::bigint as impressions
    from raw.ad_spend
    group by date, platform, ad_account, currency
),

shown as (
    select
        spent_on, platform, ad_account, currency,
        sum(amount_minor)::bigint as amount, sum(clicks)::bigint as clicks, sum(impressions)::bigint as impressions
    from marts.spend
    group by spent_on, platform, ad_account, currency
)

select 'told, not shown' as what, * from (select * from told except select * from shown)
union all
select 'shown, not told', * from (select * from shown except select * from told)
