-- Accounts none of whose people had a touch in the last 90 days.
--
-- @subject: person
-- @accounts: none
-- @look_back: 90
SELECT DISTINCT person_id FROM attribution.touch WHERE person_id IS NOT NULL AND touched_at >= {since}
