-- What no touch explains has a reason, and only that.
select *
from marts.revenue_attribution
where (channel = 'Unattributed') <> (unattributed_reason is not null)
