-- Per live outcome, model and measure, current credit adds up to the outcome exactly: a million for count, else money.
with outcome as (
    select milestone, milestone_id, unnest([
        {'measure': 'count', 'total': 1000000::bigint, 'currency': ''},
        {'measure': 'amount', 'total': amount_current, 'currency': coalesce(currency, '')},
        {'measure': 'mrr', 'total': mrr_new, 'currency': coalesce(currency, '')},
        {'measure': 'arr', 'total': arr_new, 'currency': coalesce(currency, '')},
        {'measure': 'tcv', 'total': tcv_current, 'currency': coalesce(currency, '')}
    ], recursive := true)
    from events.milestone
    where state = 'live' and suppressed_by is null
    union all
    select milestone, milestone_id, unnest([
        {'measure': 'count', 'total': 1000000::bigint, 'currency': ''},
        {'measure': 'amount', 'total': amount, 'currency': coalesce(currency, '')},
        {'measure': 'mrr', 'total': mrr, 'currency': coalesce(currency, '')},
        {'measure': 'arr', 'total': arr, 'currency': coalesce(currency, '')},
        {'measure': 'tcv', 'total': tcv, 'currency': coalesce(currency, '')}
    ], recursive := true)
    from events.revenue
),

credited as (
    select
        milestone, milestone_id, model, scope, measure, sum(credit)::bigint as credit,
        min(currency) as currency, max(currency) as last_currency
    from attribution.credit
    where superseded_at is null
    group by milestone, milestone_id, model, scope, measure
)

select credited.*, outcome.total, outcome.currency as outcome_currency
from credited
join outcome using (milestone, milestone_id, measure)
where
    credited.credit is distinct from outcome.total
    or credited.currency is distinct from outcome.currency
    or credited.last_currency is distinct from outcome.currency
