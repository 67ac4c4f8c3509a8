-- A reversed fact says why, a live one has no reason.
-- @incremental: milestone, milestone_id
select milestone, milestone_id, state, reason
from marts.milestone
where (state = 'reversed') <> (reason is not null)
