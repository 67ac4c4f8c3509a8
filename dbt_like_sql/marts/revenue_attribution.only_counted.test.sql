-- No current credit for outcomes that do not exist, are reversed, or are internal or test traffic.
with fact as (
    select milestone, milestone_id, state, suppressed_by
    from events.milestone
    union all
    select milestone, milestone_id, 'live', null
    from events.revenue
)

select credit.milestone, credit.milestone_id, credit.model, credit.measure, fact.state, fact.suppressed_by
from attribution.credit as credit
left join fact on fact.milestone = credit.milestone and fact.milestone_id = credit.milestone_id
where
    credit.superseded_at is null
    and (fact.milestone_id is null or fact.state <> 'live' or fact.suppressed_by is not null)
