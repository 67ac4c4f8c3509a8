-- Every touch of a journey has its place, one after the other, and each model's weights of an outcome add up to one.
-- @incremental: milestone, milestone_id
select milestone, milestone_id, model, scope, sum(weight) as weight, max(position) as last_position, max(touches) as touches
from marts.deal_attribution
where measure = 'count' and touch_id is not null
group by milestone, milestone_id, model, scope
having
    (sum(weight) > 1)
    or (sum(weight) < 1 and bool_and(kind <> 'self_reported'))
    or max(position) > max(touches)
    or (count(position) <> count(*) and bool_and(kind <> 'self_reported'))
