-- Every live outcome has current credit in every model: in count always, in a money measure where it has that value.
--
-- What counts as an outcome, and the models, are the mapping's; here they are those that have any current credit.
with current_credit as (
    select * from attribution.credit where superseded_at is null
),

model as (
    select distinct model, scope from current_credit
),

outcome as (
    select milestone, milestone_id, unnest([
        'count',
        case when amount_current is not null then 'amount' end,
        case when mrr_new is not null then 'mrr' end,
        case when arr_new is not null then 'arr' end,
        case when tcv_current is not null then 'tcv' end
    ]) as measure
    from events.milestone
    where
        state = 'live'
        and suppressed_by is null
        and milestone in (select milestone from current_credit)
    union all
    select milestone, milestone_id, unnest([
        'count',
        case when amount is not null then 'amount' end,
        case when mrr is not null then 'mrr' end,
        case when arr is not null then 'arr' end,
        case when tcv is not null then 'tcv' end
    ])
    from events.revenue
    where milestone in (select milestone from current_credit)
)

select outcome.milestone, outcome.milestone_id, model.model, model.scope, outcome.measure
from outcome
cross join model
anti join current_credit
    on current_credit.milestone = outcome.milestone
    and current_credit.milestone_id = outcome.milestone_id
    and current_credit.model = model.model
    and current_credit.scope = model.scope
    and current_credit.measure = outcome.measure
where outcome.measure is not null
