-- One row per destination, ad account, action, currency, cause and whether it will still be told: what the platform
-- believes of conversions whose value has changed or whose win no longer stands, beside what is so now. A platform that
-- takes corrections is right again an hour later; of the others the difference stays.
--
-- A value of null (a rule that sends none) counts as conversion and with no money.
--
-- @audience: marketing, finance
-- @column destination [not_null]: the ad platform
-- @column ad_account [not_null]: ad account or dataset on the platform
-- @column action [not_null]: the platform's event name or conversion rule
-- @column currency: ISO 4217 code of the values
-- @column cause [not_null]: amount, currency, merged (two conversions that are one), gone, reopened, or the reason for which
--   the win no longer stands
-- @column is_waiting [not_null]: a correction is on its way; false where the platform takes none, or not any more
-- @column conversions [not_null] [>= 1]: how many
-- @column believed_minor [not_null]: what the platform believes, minor units
-- @column now_minor [not_null]: what is so now, minor units; 0 where the win does not stand
-- @column exposure_minor [not_null]: believed less now, minor units
-- @column exposure: the same in the currency's unit
-- @unique: destination, ad_account, action, currency, cause, is_waiting
with told as (
    select
        adjusts as conversion_id,
        revision,
        cause,
        state,
        currency,
        if(kind = 'retraction', 0, value) as value,
        state in ('accepted', 'processed') as is_taken
    from conversions.conversion
    where adjusts is not null and reason is distinct from 'superseded'
),

taken as (
    select conversion_id, arg_max(value, revision) as value, max(revision) as revision
    from told
    where is_taken
    group by conversion_id
),

untold as (
    select told.*
    from told
    left join taken on taken.conversion_id = told.conversion_id
    where not told.is_taken and told.revision > coalesce(taken.revision, -1)
    qualify row_number() over (partition by told.conversion_id order by told.revision desc) = 1
),

wrong as (
    select
        base.destination,
        base.account as ad_account,
        base.action,
        coalesce(untold.currency, base.currency) as currency,
        untold.cause,
        untold.state in ('pending', 'held', 'in_flight', 'retry', 'unknown') as is_waiting,
        coalesce(taken.value, base.value, 0) as believed,
        coalesce(untold.value, 0) as now
    from untold
    inner join conversions.conversion as base on base.conversion_id = untold.conversion_id
    left join taken on taken.conversion_id = untold.conversion_id
    where coalesce(taken.value, base.value) is distinct from untold.value or base.value is null
)

select
    wrong.destination,
    wrong.ad_account,
    wrong.action,
    wrong.currency,
    wrong.cause,
    wrong.is_waiting,
    count(*) as conversions,
    sum(wrong.believed)::bigint as believed_minor,
    sum(wrong.now)::bigint as now_minor,
    sum(wrong.believed - wrong.now)::bigint as exposure_minor,
    sum(wrong.believed - wrong.now)::decimal(19, 0) * any_value(currency.unit) as exposure
from wrong
left join staging.currency as currency on currency.currency = wrong.currency
group by wrong.destination, wrong.ad_account, wrong.action, wrong.currency, wrong.cause, wrong.is_waiting
