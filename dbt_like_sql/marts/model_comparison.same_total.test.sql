-- In every model and window a month's outcomes are worth the same: what marts.revenue_attribution credits in all.
with expected as (
    select booked_month, milestone, scope, measure, currency, model, sum(credit_minor)::bigint as credit
    from marts.revenue_attribution
    group by all
),

shown as (
    select booked_month, milestone, scope, measure, currency, model, look_back_days, sum(credit_minor)::bigint as credit
    from marts.model_comparison
    group by all
)

select shown.*, expected.credit as expected
from shown
left join (
    select booked_month, milestone, scope, measure, currency, max(credit) as credit from expected group by all
) as expected
    on
        expected.booked_month = shown.booked_month and expected.milestone = shown.milestone
        and expected.scope = shown.scope and expected.measure = shown.measure
        and expected.currency is not distinct from shown.currency
where shown.credit is distinct from expected.credit
union all
select expected.booked_month, expected.milestone, expected.scope, expected.measure, expected.currency, expected.model, null,
    null, expected.credit
from expected
anti join shown
    on
        shown.booked_month = expected.booked_month and shown.milestone = expected.milestone
        and shown.scope = expected.scope and shown.measure = expected.measure and shown.model = expected.model
        and shown.currency is not distinct from expected.currency and shown.look_back_days is null
where expected.credit <> 0
