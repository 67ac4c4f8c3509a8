-- Clicks on tracked links of a person in the last 30 days.
--
-- @subject: person
-- @look_back: 30
-- @trait link_clicks_30_days [number]: how many
SELECT person_id, count(*) AS link_clicks_30_days
FROM attribution.touch
WHERE kind = 'link_click' AND person_id IS NOT NULL AND touched_at >= {since}
GROUP BY person_id
