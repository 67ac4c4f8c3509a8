-- One row per HubSpot deal that is a record of its own: absorbed deals are left out, archived ones flagged.
--
-- The deal's name stays in raw: HubSpot and people put the buyer's name into it.
--
-- @column deal_id [not_null] [unique]: HubSpot deal id
-- @column pipeline_id: pipeline id
-- @column pipeline_label: the pipeline's name; null where HubSpot has deleted it
-- @column stage_id: stage id
-- @column stage_label: the stage's name; null where HubSpot has deleted it
-- @column stage_order: position of the stage in its pipeline
-- @column probability [>= 0] [<= 1]: win probability of the stage
-- @column is_closed [not_null]: the deal's stage is won or lost by its pipeline's metadata, unless your mapping names the
--   stage; where no list of pipelines names it, by HubSpot's hs_is_closed
-- @column is_won [not_null]: likewise won
-- @column is_won_in_hubspot [not_null]: HubSpot's own flag (hs_is_closed_won), whatever the mapping says
-- @column deal_type: newbusiness, existingbusiness or the portal's own
-- @column currency: ISO 4217 code of the deal
-- @column amount_minor: amount in minor units of the currency (cents)
-- @column close_date: close date, UTC; an estimate while the deal is open
-- @column owner_id: HubSpot owner id
-- @column lost_reason: what HubSpot has as the reason it was lost (closed_lost_reason); an e-mail in it is withheld
-- @column absorbed_records [not_null] [>= 0]: how many deals were merged into this one, as HubSpot lists them
-- @column created_at [not_null]: when HubSpot created the record, UTC
-- @column modified_at [not_null]: HubSpot's modified stamp, UTC
-- @column is_archived [not_null]: whether the deal is archived
-- @unique: deal_id
with live as (
    select deal.*
    from raw.deal as deal
    anti join staging.merge as merged on merged.object_type = 'deals' and merged.absorbed_id = deal.id::varchar
)

select
    live.id::varchar as deal_id,
    live.pipeline as pipeline_id,
    stage.pipeline_label,
    live.dealstage as stage_id,
    stage.stage_label,
    stage.stage_order,
    stage.probability,
    coalesce(meant.meaning <> 'open', lower(live.properties ->> '$.hs_is_closed') = 'true', false) as is_closed,
    coalesce(meant.meaning = 'won', lower(live.properties ->> '$.hs_is_closed_won') = 'true', false) as is_won,
    coalesce(lower(live.properties ->> '$.hs_is_closed_won') = 'true', false) as is_won_in_hubspot,
    live.dealtype as deal_type,
    live.currency,
    live.amount as amount_minor,
    live.closedate as close_date,
    live.hubspot_owner_id as owner_id,
    nullif(withheld(trim(live.properties ->> '$.closed_lost_reason')), '') as lost_reason,
    coalesce(len(live.merged_ids), 0)::bigint as absorbed_records,
    live.created_at,
    live.modified_at,
    live.archived as is_archived
from live
left join events.stage as meant on meant.stage_id = live.dealstage
left join staging.pipeline_stage as stage on stage.object_type = 'deals' and stage.stage_id = live.dealstage
