-- One row per form submission, without who submitted it.
--
-- The e-mail as typed and the page's address stay in raw; of the click ids only their kinds are here.
--
-- @materialized: view
-- @column form_id [not_null]: form guid
-- @column conversion_id [not_null]: HubSpot's id of the submission
-- @column submitted_at [not_null]: when it was submitted, UTC
-- @column has_email [not_null]: whether an e-mail was typed
-- @column page_host: host of the page the form was on
-- @column link_click_id: our own click id that came with the form
-- @column click_id_kinds [not_null]: which platforms' click ids came with it (gclid, fbclid, li_fat_id, …)
-- @column utm_source: utm_source of the page's address, else of a hidden field
-- @column utm_medium: utm_medium of the page
-- @column utm_campaign: utm_campaign of the page
-- @unique: form_id, conversion_id
select
    form_id,
    conversion_id,
    submitted_at,
    email is not null as has_email,
    nullif(lower(regexp_extract(page_url, '^https?://(?:[^/?#@]*@)?([^/?#:@]+)', 1, 'i')), '') as page_host,
    link_click_id,
    list_filter(
        [
            case when gclid is not null then 'gclid' end,
            case when gbraid is not null then 'gbraid' end,
            case when wbraid is not null then 'wbraid' end,
            case when fbclid is not null then 'fbclid' end,
            case when li_fat_id is not null then 'li_fat_id' end,
            case when msclkid is not null then 'msclkid' end,
            case when ttclid is not null then 'ttclid' end
        ],
        lambda kind: kind is not null
    ) as click_id_kinds,
    utm_source,
    utm_medium,
    utm_campaign
from raw.form_submission
