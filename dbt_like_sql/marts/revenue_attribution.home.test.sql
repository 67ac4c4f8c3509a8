-- Per live outcome, model and measure, credit in the home currency adds up to the converted outcome exactly.
with outcome as (
    select milestone, milestone_id, unnest([
        {'measure': 'amount', 'total': amount_home},
        {'measure': 'mrr', 'total': mrr_home},
        {'measure': 'arr', 'total': arr_home},
        {'measure': 'tcv', 'total': tcv_home}
    ], recursive := true), home_currency
    from events.home_value
),

credited as (
    select
        milestone, milestone_id, model, scope, measure, sum(credit_home)::bigint as credit_home,
        min(home_currency) as home_currency, max(home_currency) as last_home_currency
    from attribution.credit
    where superseded_at is null
    group by milestone, milestone_id, model, scope, measure
)

select credited.*, outcome.total
from credited
left join outcome using (milestone, milestone_id, measure)
where
    credited.credit_home is distinct from outcome.total
    or (outcome.total is not null and credited.home_currency is distinct from outcome.home_currency)
    or credited.last_home_currency is distinct from credited.home_currency
    or (credited.credit_home is null) <> (credited.home_currency is null)
