-- Money has a currency, and the decimal columns are the minor units exactly.
-- @incremental: milestone, milestone_id
with money as (
    select milestone, milestone_id, currency, unnest([
        {'measure': 'amount', 'event_minor': amount_at_event_minor, 'minor': amount_current_minor, 'unit': amount_current},
        {'measure': 'mrr', 'event_minor': mrr_at_event_minor, 'minor': mrr_current_minor, 'unit': mrr_current},
        {'measure': 'arr', 'event_minor': arr_at_event_minor, 'minor': arr_current_minor, 'unit': arr_current},
        {'measure': 'tcv', 'event_minor': tcv_at_event_minor, 'minor': tcv_current_minor, 'unit': tcv_current},
        {'measure': 'new mrr', 'event_minor': mrr_at_event_minor, 'minor': mrr_new_minor, 'unit': mrr_new},
        {'measure': 'new arr', 'event_minor': arr_at_event_minor, 'minor': arr_new_minor, 'unit': arr_new}
    ], recursive := true)
    from marts.milestone
)

select money.*
from money
left join staging.currency as currency on currency.currency = money.currency
where
    (coalesce(money.event_minor, money.minor) is not null and currency.currency is null)
    or money.unit is distinct from money.minor::decimal(19, 0) * currency.unit
