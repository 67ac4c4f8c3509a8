-- One row per HubSpot owner, archived ones included, by number only: who it is can be looked up in HubSpot.
--
-- Name and e-mail of the owner stay in raw.
--
-- @column owner_id [not_null] [unique]: HubSpot owner id, as in the owner_id of contacts, companies and deals
-- @column owner_label [not_null]: how to show the owner without a name
-- @column is_archived [not_null]: whether the owner is deactivated
-- @unique: owner_id
select
    id as owner_id,
    'Owner ' || id as owner_label,
    archived as is_archived
from raw.owner
