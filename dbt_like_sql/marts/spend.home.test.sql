-- Per day and currency, amounts in the home currency are those of events.home_spend exactly, each row of raw.ad_spend
-- converted once; in the home currency itself they are the amounts, and the decimal column is the minor units exactly.
with converted as (
    select
        spent.date as spent_on, spent.currency, home.home_currency,
        case when count(*) = count(home.amount_home) then sum(home.amount_home)::bigint end as amount_home
    from raw.ad_spend as spent
    left join events.home_spend as home
        on
            home.period = 'day' and home.starts_on = spent.date
            and home.currency = spent.currency and home.amount = spent.amount
    group by all
),

shown as (
    select
        spend.spent_on, spend.currency, spend.home_currency,
        case
            when count(*) = count(spend.amount_home_minor) then sum(spend.amount_home_minor)::bigint
        end as amount_home,
        bool_and(
            spend.amount_home is not distinct from spend.amount_home_minor::decimal(19, 0) * home.unit
            and (spend.currency is distinct from spend.home_currency or spend.amount_home_minor = spend.amount_minor)
        ) as is_exact
    from marts.spend as spend
    left join staging.currency as home on home.currency = spend.home_currency
    group by all
)

select *
from converted
full join shown using (spent_on, currency)
where
    converted.amount_home is distinct from shown.amount_home
    or converted.home_currency is distinct from shown.home_currency
    or not coalesce(shown.is_exact, false)
