-- Amounts in the home currency are those of events.home_value, and the decimal columns are the minor units exactly.
-- @incremental: milestone, milestone_id
with shown as (
    select milestone, milestone_id, currency, home_currency, unnest([
        {'measure': 'amount', 'minor': amount_home_minor, 'unit': amount_home, 'own': amount_current_minor},
        {'measure': 'mrr', 'minor': mrr_home_minor, 'unit': mrr_home, 'own': mrr_new_minor},
        {'measure': 'arr', 'minor': arr_home_minor, 'unit': arr_home, 'own': arr_new_minor},
        {'measure': 'tcv', 'minor': tcv_home_minor, 'unit': tcv_home, 'own': tcv_current_minor}
    ], recursive := true)
    from marts.milestone
),

converted as (
    select milestone, milestone_id, unnest([
        {'measure': 'amount', 'minor': amount_home},
        {'measure': 'mrr', 'minor': mrr_home},
        {'measure': 'arr', 'minor': arr_home},
        {'measure': 'tcv', 'minor': tcv_home}
    ], recursive := true)
    from events.home_value
)

select shown.*, converted.minor as converted
from shown
left join converted using (milestone, milestone_id, measure)
left join staging.currency as home on home.currency = shown.home_currency
where
    shown.minor is distinct from converted.minor
    or shown.unit is distinct from shown.minor::decimal(19, 0) * home.unit
    or (shown.home_currency = shown.currency and shown.minor is distinct from shown.own)
