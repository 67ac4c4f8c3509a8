-- Each touch that no channel rule names is counted once.
select *
from (
    select
        (select count(*) from attribution.touch where channel_rule is null) as touches,
        (select coalesce(sum(touches), 0) from marts.hygiene where problem in ('unknown_medium', 'untagged')) as counted
)
where touches <> counted
