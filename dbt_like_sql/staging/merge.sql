-- One row per record that a HubSpot merge absorbed, with the record that holds it now, chains followed to their end.
--
-- @column object_type [not_null] [in contacts, companies, deals]: contacts, companies or deals
-- @column absorbed_id [not_null]: the id that is no longer a record
-- @column survivor_id [not_null]: the record that absorbed it, which may have been absorbed since
-- @column live_id [not_null]: the record at the end of the chain; null would mean that merges run in a circle
-- @column merged_at: when HubSpot merged them, UTC; null where it does not say
-- @column source [not_null]: where we learned of it
-- @unique: object_type, absorbed_id
with recursive chain (object_type, absorbed_id, id) as (
    select object_type, absorbed_id, survivor_id
    from raw.merge
    union
    select chain.object_type, chain.absorbed_id, next.survivor_id
    from chain
    join raw.merge as next on next.object_type = chain.object_type and next.absorbed_id = chain.id
),

chain_end as (
    select chain.object_type, chain.absorbed_id, chain.id as live_id
    from chain
    anti join raw.merge as further on further.object_type = chain.object_type and further.absorbed_id = chain.id
)

select
    merge.object_type,
    merge.absorbed_id::varchar as absorbed_id,
    merge.survivor_id::varchar as survivor_id,
    chain_end.live_id::varchar as live_id,
    merge.merged_at,
    merge.source
from raw.merge as merge
left join chain_end on chain_end.object_type = merge.object_type and chain_end.absorbed_id = merge.absorbed_id
