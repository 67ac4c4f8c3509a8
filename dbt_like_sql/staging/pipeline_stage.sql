-- One row per stage of a HubSpot pipeline, with what the stage means for a deal in it.
--
-- @materialized: view
-- @column object_type [not_null] [in contacts, companies, deals]: whose pipeline it is; deals
-- @column stage_id [not_null]: stage id, as in a deal's stage_id
-- @column stage_label [not_null]: the stage's name in HubSpot
-- @column stage_order [not_null]: position of the stage in its pipeline
-- @column pipeline_id [not_null]: id of the pipeline that owns the stage
-- @column pipeline_label [not_null]: the pipeline's name in HubSpot
-- @column probability [>= 0] [<= 1]: win probability of the stage
-- @column is_closed [not_null]: deals in this stage are closed
-- @column is_won [not_null]: deals in this stage are closed and won (probability 1)
-- @column is_archived [not_null]: the pipeline or the stage is archived
-- @unique: object_type, stage_id
select
    object_type,
    stage_id,
    stage_label,
    display_order as stage_order,
    pipeline_id,
    pipeline_label,
    probability::decimal(5, 4) as probability,
    is_closed,
    is_closed and coalesce(probability = 1, false) as is_won,
    archived as is_archived
from raw.pipeline_stage
