-- People of an account with a touch in the last 30 days, and when the last one was.
--
-- @subject: account
-- @look_back: 30
-- @trait engaged_people_30_days [number]: how many
-- @trait last_touch_at [datetime]: the last touch of the account
SELECT account_id, count(DISTINCT person_id) AS engaged_people_30_days, max(touched_at) AS last_touch_at
FROM attribution.touch
WHERE account_id IS NOT NULL AND touched_at >= {since}
GROUP BY account_id
