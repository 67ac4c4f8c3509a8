-- One row per destination, ad account, action and month: the facts that may be uploaded, and what became of them. Eligible =
-- uploaded + waiting + refused + expired; what may not be uploaded is suppressed, with its own column. Corrections are left
-- out: they are about a conversion that counts already. Reasons are in marts.upload_health, each conversion in marts.conversion.
--
-- @audience: marketing, finance
-- @column destination [not_null]: the ad platform
-- @column ad_account [not_null]: ad account or dataset on the platform
-- @column action [not_null]: the platform's event name or conversion rule
-- @column occurred_month [not_null]: first day of the month of the facts, in the account's time zone
-- @column eligible [not_null] [>= 0]: facts that may be uploaded
-- @column uploaded [not_null] [>= 0]: of them taken by the platform
-- @column waiting [not_null] [>= 0]: of them not finished: due, held, under way, or to be decided by a person
-- @column refused [not_null] [>= 0]: of them refused by the platform
-- @column expired [not_null] [>= 0]: of them whose window ended before they could be sent
-- @column suppressed [not_null] [>= 0]: facts that may not be uploaded: before activation, without consent, internal, replaced
-- @column coverage [>= 0] [<= 1]: uploaded / eligible; null where nothing is eligible
-- @column value_uploaded_minor: value of those uploaded, minor units; null where several currencies or none
-- @column currency: ISO 4217 code of that value
-- @unique: destination, ad_account, action, occurred_month
with sent as (
    select
        destination,
        ad_account,
        action,
        date_trunc('month', occurred_on)::date as occurred_month,
        count(*) filter (where state <> 'suppressed') as eligible,
        count(*) filter (where is_counted) as uploaded,
        count(*) filter (where is_waiting and not is_counted) as waiting,
        count(*) filter (where not is_counted and not is_waiting and state not in ('suppressed', 'expired')) as refused,
        count(*) filter (where state = 'expired') as expired,
        count(*) filter (where state = 'suppressed') as suppressed,
        sum(value_minor) filter (where is_counted)::bigint as value_uploaded_minor,
        min(currency) filter (where is_counted and value_minor is not null) as currency,
        max(currency) filter (where is_counted and value_minor is not null) as last_currency
    from marts.conversion
    where kind = 'conversion'
    group by destination, ad_account, action, date_trunc('month', occurred_on)::date
)

select
    destination,
    ad_account,
    action,
    occurred_month,
    eligible,
    uploaded,
    waiting,
    refused,
    expired,
    suppressed,
    (uploaded::decimal(18, 0) / nullif(eligible, 0))::decimal(9, 6) as coverage,
    case when currency = last_currency then value_uploaded_minor end as value_uploaded_minor,
    case when currency = last_currency then currency end as currency
from sent
