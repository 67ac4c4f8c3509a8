-- One row per stay of a deal in a stage: when it came, when it left and where to. For medians and averages group by
-- pipeline_label and stage_label; leave out rows that are still open, and is_suppressed (internal and test traffic).
--
-- Times are those at which HubSpot recorded the change, not close dates: a stage typed in later is short. Stages that were
-- jumped over have no row. Of merged deals, a stay ends where the next of any of them begins.
--
-- @audience: revenue-operations
-- @column deal_id [not_null]: HubSpot deal id
-- @column pipeline_id: HubSpot pipeline id that owns the stage
-- @column pipeline_label: the pipeline's name
-- @column stage_id [not_null]: HubSpot stage id
-- @column stage_label: the stage's name
-- @column stage_order: position of the stage in its pipeline
-- @column entered_at [not_null]: when HubSpot recorded that the deal came into the stage, UTC
-- @column entered_month [not_null]: first day of that month, in the account's time zone
-- @column left_at: when HubSpot recorded that it left, UTC; null while it is in it
-- @column days [>= 0]: days in the stage, in hundredths; null while it is in it
-- @column next_stage_id: stage it left for; null while it is in it, and where the stage was cleared
-- @column moved [not_null] [in forward, back, won, lost, stays, elsewhere]: how it left: to a later or an earlier stage of the
--   pipeline, to a stage that is won or lost, not yet, or to another pipeline
-- @column is_suppressed [not_null]: internal or test traffic by the mapping's rules
-- @unique: deal_id, stage_id, entered_at
with zone as (
    select coalesce(min(time_zone), 'UTC') as time_zone
    from staging.account
),

told as (
    select
        record_id,
        to_stage,
        observed_at,
        max(left_at) as left_at,
        nullif(max(next_stage), '') as next_stage,
        bool_or(suppressed_by is not null) as is_suppressed
    from events.event
    where object_type = 'deals' and event not in ('deal_amount_changed', 'stage_skipped')
    group by record_id, to_stage, observed_at
),

ordered as (
    select
        *,
        lead(observed_at) over deal as next_at,
        lead(to_stage) over deal as next_to
    from told
    window deal as (partition by record_id order by observed_at, left_at nulls last, to_stage)
),

stay as (
    select
        record_id,
        to_stage,
        observed_at,
        least(left_at, next_at) as left_at,
        case when next_at is not null and coalesce(left_at >= next_at, true) then next_to else next_stage end as next_stage,
        is_suppressed
    from ordered
)

select
    stay.record_id::varchar as deal_id,
    stage.pipeline_id,
    stage.pipeline_label,
    stay.to_stage as stage_id,
    stage.stage_label,
    stage.stage_order,
    stay.observed_at as entered_at,
    date_trunc('month', (stay.observed_at at time zone zone.time_zone))::date as entered_month,
    stay.left_at,
    (date_diff('second', stay.observed_at, stay.left_at) / 86400)::decimal(12, 2) as days,
    stay.next_stage as next_stage_id,
    case
        when stay.left_at is null then 'stays'
        when meant.meaning = 'won' then 'won'
        when meant.meaning = 'lost' then 'lost'
        when following.stage_order > stage.stage_order and following.pipeline_id = stage.pipeline_id then 'forward'
        when following.stage_order <= stage.stage_order and following.pipeline_id = stage.pipeline_id then 'back'
        else 'elsewhere'
    end as moved,
    stay.is_suppressed
from stay
cross join zone
left join staging.pipeline_stage as stage on stage.object_type = 'deals' and stage.stage_id = stay.to_stage
left join staging.pipeline_stage as following on following.object_type = 'deals' and following.stage_id = stay.next_stage
left join events.stage as meant on meant.stage_id = stay.next_stage
