-- marts.known_gaps names every row of events.gap, every deal of HubSpot that makes no fact, and every win without a touch.
with expected as (
    select gap, subject from events.gap
    union
    select 'unattributed', win.milestone_id
    from events.milestone as win
    join attribution.journey as led on led.milestone = win.milestone and led.milestone_id = win.milestone_id
    where
        win.milestone in ('customer_won', 'customer_expanded') and win.state = 'live' and win.suppressed_by is null
        and led.unattributed_reason is not null
)

select 'missing' as what, gap, subject from (select * from expected except select gap, subject from marts.known_gaps)
union all
select 'in neither', pipeline.deal_id, pipeline.status
from marts.pipeline as pipeline
anti join marts.known_gaps as gap on gap.deal_id = pipeline.deal_id
anti join marts.milestone as fact on fact.deal_id = pipeline.deal_id
anti join marts.known_gaps as place
    on place.gap in ('stage_unknown', 'pipeline_unmapped') and place.subject in (pipeline.stage_id, pipeline.pipeline_id)
union all
select 'without a way out', gap, subject from marts.known_gaps where what_to_do is null
