-- One row per association of two HubSpot records that holds now. HubSpot does not date associations.
--
-- @materialized: view
-- @column from_type [not_null] [in contacts, companies, deals]: contacts or deals
-- @column from_id [not_null]: record id
-- @column to_type [not_null] [in contacts, companies, deals]: contacts or companies
-- @column to_id [not_null]: record id
-- @column labels [not_null]: labels of the association, without the unlabeled type
-- @column is_primary [not_null]: whether one of its types is HubSpot's primary type
-- @column position [not_null] [>= 0]: place in HubSpot's answer, 0 first
-- @column valid_from [not_null]: when we first saw it, UTC; 1970 where it came with the record's first read
-- @unique: from_type, from_id, to_type, to_id
select
    from_type,
    from_id::varchar as from_id,
    to_type,
    to_id::varchar as to_id,
    labels,
    is_primary,
    position,
    valid_from
from raw.association
where valid_to is null
