-- One row per click in a HubSpot marketing e-mail, filtered ones, bot clicks and duplicates included and flagged, without
-- who clicked from where.
--
-- Recipient, user agent, hashed address and the full address of the link stay in raw.
--
-- @materialized: view
-- @column created_at [not_null]: when the link was followed, UTC
-- @column id [not_null]: HubSpot's event id, unique with created_at only
-- @column email_campaign_id: the send
-- @column app_name: HubSpot's name of the sending tool
-- @column url_host: host of the page the link leads to
-- @column sent_at: when the e-mail was sent, UTC
-- @column country: country of the click
-- @column device: device class
-- @column contact_id: the contact of the recipient; null for bot clicks and unknown recipients
-- @column status [not_null] [in resolved, unresolved, suspect, duplicate]: only resolved ones are touches
-- @column reason: the rule that says so
-- @column link_click_id: duplicate: the click on a tracked link that is the same act
-- @unique: created_at, id
select
    click.created_at,
    click.id,
    click.email_campaign_id,
    click.app_name,
    nullif(lower(regexp_extract(click.url, '^https?://(?:[^/?#@]*@)?([^/?#:@]+)', 1, 'i')), '') as url_host,
    click.sent_at,
    click.country,
    click.device,
    answer.contact_id::varchar as contact_id,
    coalesce(answer.status, case when click.is_bot then 'suspect' else 'unresolved' end) as status,
    coalesce(answer.reason, click.bot_reason) as reason,
    answer.link_click_id
from raw.email_click as click
left join identity.email_click as answer using (created_at, id)
