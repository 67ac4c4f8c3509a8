-- One row per HubSpot owner, archived ones included: your own people, by name. Their e-mails stay in raw.
--
-- @materialized: view
-- @column owner_id [not_null] [unique]: HubSpot owner id, as in the owner_id of contacts, companies and deals
-- @column owner_name [not_null]: first and last name; the number where there is none. What looks like an e-mail is withheld
-- @column is_archived [not_null]: whether the owner is deactivated
-- @unique: owner_id
select
    id as owner_id,
    coalesce(nullif(withheld(trim(concat_ws(' ', first_name, last_name))), ''), 'Owner ' || id) as owner_name,
    archived as is_archived
from raw.owner
