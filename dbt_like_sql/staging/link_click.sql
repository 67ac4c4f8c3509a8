-- One row per click on a tracked link, suspects included and flagged, without who clicked from where.
--
-- User agent, hashed address, full addresses of pages and the click ids themselves stay in raw.
--
-- @column click_id [not_null] [unique]: the link service's id of the click
-- @column clicked_at [not_null]: when the link was followed, UTC
-- @column received_at [not_null]: when the link service recorded it, UTC
-- @column link_slug: slug of the tracked link
-- @column link_tags: tags of the tracked link
-- @column destination_host: host of the page the link leads to
-- @column referrer_host: host of the page the link was on
-- @column contact_id: HubSpot contact id carried by the link, null for most
-- @column click_id_kinds [not_null]: which platforms' click ids it carries (gclid, fbclid, li_fat_id, …)
-- @column utm_source: utm_source of the link
-- @column utm_medium: utm_medium of the link
-- @column utm_campaign: utm_campaign of the link
-- @column country: ISO 3166 alpha-2 code of the country
-- @column device: device class
-- @column is_bot [not_null]: a scanner or bot; it counts nowhere
-- @column bot_reason: the rule that says so; null for people
-- @unique: click_id
select
    click_id,
    clicked_at,
    received_at,
    link_slug,
    link_tags,
    nullif(lower(regexp_extract(destination_url, '^https?://(?:[^/?#@]*@)?([^/?#:@]+)', 1, 'i')), '')
        as destination_host,
    nullif(lower(regexp_extract(referrer, '^https?://(?:[^/?#@]*@)?([^/?#:@]+)', 1, 'i')), '') as referrer_host,
    contact_id,
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
    utm_campaign,
    country,
    device,
    is_bot,
    bot_reason
from raw.link_click
