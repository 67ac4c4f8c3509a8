-- No campaign counts with the spend of an ad platform and with HubSpot's own, and what does not count is of another platform.
select hubspot.campaign, hubspot.campaign_id, hubspot.amount_minor
from marts.spend as hubspot
left join (select distinct campaign from marts.spend where platform <> 'hubspot' and campaign is not null) as told
    on told.campaign = hubspot.campaign
where
    (hubspot.platform = 'hubspot' and hubspot.is_counted and told.campaign is not null)
    or (hubspot.platform <> 'hubspot' and not hubspot.is_counted)
