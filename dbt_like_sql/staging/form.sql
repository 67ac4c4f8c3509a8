-- One row per HubSpot form.
--
-- @materialized: view
-- @column form_id [not_null] [unique]: form guid
-- @column form_name: name of the form in HubSpot
-- @column is_archived [not_null]: whether the form is archived
-- @unique: form_id
select
    id as form_id,
    name as form_name,
    archived as is_archived
from raw.form
