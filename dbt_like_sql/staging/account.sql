-- The HubSpot account itself: its time zone decides finance days, its currency is the home currency. One row.
--
-- @materialized: view
-- @column portal_id [not_null] [unique]: HubSpot portal (account) id
-- @column time_zone [not_null]: the account's time zone, IANA name
-- @column company_currency: home currency, ISO 4217; null where the account has none
-- @column additional_currencies: further currencies, ISO 4217
-- @unique: portal_id
select
    portal_id,
    time_zone,
    company_currency,
    additional_currencies
from raw.account
