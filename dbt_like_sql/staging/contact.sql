-- One row per HubSpot contact that is a record of its own: absorbed contacts are left out, archived ones flagged.
--
-- Names, e-mails, phones and the other properties stay in raw.
--
-- @materialized: view
-- @column contact_id [not_null] [unique]: HubSpot contact id
-- @column lifecycle_stage: current lifecycle stage, HubSpot's internal value
-- @column company_id: the company HubSpot names as the contact's primary one, the live record after merges
-- @column owner_id: HubSpot owner id
-- @column has_email [not_null]: whether the contact has an e-mail
-- @column absorbed_records [not_null] [>= 0]: how many contacts were merged into this one, as HubSpot lists them
-- @column created_at [not_null]: when HubSpot created the record, UTC
-- @column modified_at [not_null]: HubSpot's modified stamp, UTC
-- @column is_archived [not_null]: whether the contact is archived
-- @unique: contact_id
with live as (
    select contact.*
    from raw.contact as contact
    anti join staging.merge as merged on merged.object_type = 'contacts' and merged.absorbed_id = contact.id::varchar
)

select
    live.id::varchar as contact_id,
    live.lifecyclestage as lifecycle_stage,
    coalesce(moved.live_id, live.associatedcompanyid::varchar) as company_id,
    live.hubspot_owner_id as owner_id,
    live.email is not null as has_email,
    coalesce(len(live.merged_ids), 0)::bigint as absorbed_records,
    live.created_at,
    live.modified_at,
    live.archived as is_archived
from live
left join staging.merge as moved
    on moved.object_type = 'companies' and moved.absorbed_id = live.associatedcompanyid::varchar
