-- A reversed fact says why, a live one has no reason.
select milestone, milestone_id, state, reason
from marts.milestone
where (state = 'reversed') <> (reason is not null)
