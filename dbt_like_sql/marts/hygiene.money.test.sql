-- What the models give to touches that no channel rule names is what stands under their channel.
with theirs as (
    select channel from attribution.touch where channel_rule is null
    except
    select channel from attribution.touch where channel_rule is not null
),

shown as (
    select model, scope, currency, sum(credit_minor) as credit_minor
    from marts.revenue_attribution
    where
        measure = 'amount' and milestone in ('customer_won', 'customer_expanded')
        and channel in (select channel from theirs)
    group by all
),

counted as (
    select model, scope, currency, sum(amount_minor) as amount_minor
    from marts.hygiene
    where problem in ('unknown_medium', 'untagged') and model is not null
    group by all
)

select *
from shown
full join counted using (model, scope, currency)
where (select count(*) from theirs) > 0 and shown.credit_minor is distinct from counted.amount_minor
