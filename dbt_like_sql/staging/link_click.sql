-- One row per click on a tracked link, bot clicks included and flagged, without who clicked from where.
--
-- User agent, hashed address, full addresses of pages and the click ids themselves stay in raw.
--
-- @materialized: view
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
    click.click_id,
    click.clicked_at,
    click.received_at,
    click.link_slug,
    click.link_tags,
    nullif(lower(regexp_extract(click.destination_url, '^https?://(?:[^/?#@]*@)?([^/?#:@]+)', 1, 'i')), '')
        as destination_host,
    nullif(lower(regexp_extract(click.referrer, '^https?://(?:[^/?#@]*@)?([^/?#:@]+)', 1, 'i')), '') as referrer_host,
    click.contact_id::varchar as contact_id,
    list_filter(
        [
            case when click.gclid is not null then 'gclid' end,
            case when click.gbraid is not null then 'gbraid' end,
            case when click.wbraid is not null then 'wbraid' end,
            case when click.fbclid is not null then 'fbclid' end,
            case when click.li_fat_id is not null then 'li_fat_id' end,
            case when click.msclkid is not null then 'msclkid' end,
            case when click.ttclid is not null then 'ttclid' end
        ],
        lambda kind: kind is not null
    ) as click_id_kinds,
    click.utm_source,
    click.utm_medium,
    click.utm_campaign,
    click.country,
    click.device,
    coalesce(answer.status = 'suspect', click.is_bot) as is_bot,
    case
        when answer.status = 'suspect' then answer.reason
        when answer.status is null then click.bot_reason
    end as bot_reason
from raw.link_click as click
left join identity.click as answer on answer.click_id = click.click_id
