-- Spend with a match has a campaign that touches have; spend without a match has none.
select spend.platform, spend.campaign_id, spend.match, spend.campaign
from marts.spend as spend
left join (select distinct campaign from attribution.touch) as touch on touch.campaign = spend.campaign
where
    (spend.match = 'none') is distinct from (spend.campaign is null)
    or (spend.campaign is null) is distinct from (touch.campaign is null)
