-- Every month of finance.period is shown, and no month is open before one that is closed.
select 'not shown' as what, month, state
from finance.period
anti join marts.period using (month, recorded_at, state)
union all
select 'open before a closed one', month, state
from marts.period
where
    is_current and state = 'open'
    and month < (select max(month) from marts.period where is_current and state = 'closed')
