-- Added up over all days, no step of a subject, subtype and entry channel is larger than the step before it.
with total as (
    select subject, subtype, entry_channel, step_number, sum(reached)::bigint as reached
    from marts.funnel
    group by subject, subtype, entry_channel, step_number
),

compared as (
    select *, lag(reached) over (partition by subject, subtype, entry_channel order by step_number) as before
    from total
)

select *
from compared
where reached > before
