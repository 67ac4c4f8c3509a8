-- One row per HubSpot company that is a record of its own: absorbed companies are left out, archived ones flagged.
--
-- @materialized: view
-- @column company_id [not_null] [unique]: HubSpot company id
-- @column company_name: company name
-- @column domain: primary web domain as HubSpot stores it, lower case; HubSpot lets companies share one
-- @column lifecycle_stage: current lifecycle stage, HubSpot's internal value
-- @column owner_id: HubSpot owner id
-- @column absorbed_records [not_null] [>= 0]: how many companies were merged into this one, as HubSpot lists them
-- @column created_at [not_null]: when HubSpot created the record, UTC
-- @column modified_at [not_null]: HubSpot's modified stamp, UTC
-- @column is_archived [not_null]: whether the company is archived
-- @unique: company_id
with live as (
    select company.*
    from raw.company as company
    anti join staging.merge as merged on merged.object_type = 'companies' and merged.absorbed_id = company.id::varchar
)

select
    id::varchar as company_id,
    name as company_name,
    lower(trim(domain)) as domain,
    lifecyclestage as lifecycle_stage,
    hubspot_owner_id as owner_id,
    coalesce(len(merged_ids), 0)::bigint as absorbed_records,
    created_at,
    modified_at,
    archived as is_archived
from live
