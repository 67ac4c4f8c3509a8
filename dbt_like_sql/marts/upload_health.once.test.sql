-- One fact is planned once per destination, ad account and action: every further row is a revision of its own.
select destination, account, action, milestone_id, revision, count(*) as conversions
from conversions.conversion
group by destination, account, action, milestone_id, revision
having count(*) > 1
