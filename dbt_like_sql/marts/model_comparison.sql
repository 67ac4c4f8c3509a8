-- One row per month, outcome, scope, measure, currency, channel, model and look-back window: what each model gives a channel,
-- beside what the others give it, and the spread between them. A channel that a model gives nothing has its row of 0.
--
-- Rows without look_back_days are the figures of marts.revenue_attribution, in the windows of the mapping. Those with 30, 60,
-- 90 and 180 days show first_touch, last_touch and linear in shorter windows; they are computed from the touches of each
-- outcome as it is stored, so only windows no longer than the mapping's are there, of outcomes that are no movements of
-- revenue, and only while a model is in use that shares among all touches (linear, or any but first and last touch).
-- Never add models or windows up.
--
-- @audience: marketing, finance
-- @column booked_month [not_null]: first day of the month, in the account's time zone
-- @column milestone [not_null]: the outcome
-- @column scope [not_null] [in account, deal_contacts]: whose touches count
-- @column measure [not_null] [in count, amount, mrr, arr, tcv]: what is credited
-- @column currency: ISO 4217 code of money; null for count
-- @column channel [not_null]: channel, or Unattributed
-- @column model [not_null]: attribution model
-- @column look_back_days [in 30, 60, 90, 180]: length of the window; null for the mapping's own
-- @column credit_minor [not_null]: credit in millionths of an outcome for count, else in minor units of the currency
-- @column credit [not_null]: the same in outcomes or in the currency's unit, exact
-- @column share: credit / all credit of the month, outcome, model and window; null where that is 0
-- @column lowest_minor: least that a model gives the channel, in the same window; models among answers (self_reported) left
--   out; null where there is no other
-- @column highest_minor: most that a model gives it
-- @column spread_minor [>= 0]: highest - lowest
-- @unique: booked_month, milestone, scope, measure, currency, channel, model, look_back_days
with answers as (
    select distinct model
    from marts.deal_attribution
    where kind = 'self_reported'
),

journey as (
    select milestone, milestone_id, scope, touch_id, any_value(position) as position, any_value(touches) as touches,
        any_value(touched_at) as touched_at, any_value(channel) as channel
    from marts.deal_attribution
    where measure = 'count' and position is not null
    group by milestone, milestone_id, scope, touch_id
),

whole as (
    select coalesce(bool_and(known = touches), false) as is_whole
    from (select count(*) as known, max(touches) as touches from journey group by milestone, milestone_id, scope)
),

total as (
    select
        milestone,
        milestone_id,
        scope,
        measure,
        currency,
        booked_month,
        occurred_at,
        sum(credit_minor)::bigint as total
    from marts.deal_attribution
    where model = (select min(model) from marts.deal_attribution where model not in (select model from answers))
    group by all
),

windowed as (
    select total.*, look_back.days
    from total
    join attribution.parameter as longest on longest.name = 'lookback_days' and longest.subject = total.milestone
    join (values (30), (60), (90), (180)) as look_back (days) on look_back.days <= longest.value
    cross join whole
    where whole.is_whole and not starts_with(total.milestone, 'revenue_')
),

inside as (
    select
        windowed.milestone,
        windowed.milestone_id,
        windowed.scope,
        windowed.measure,
        windowed.days,
        journey.channel,
        row_number() over one as place,
        count(*) over one_whole as touches
    from windowed
    join journey
        on
            journey.milestone = windowed.milestone and journey.milestone_id = windowed.milestone_id
            and journey.scope = windowed.scope
            and journey.touched_at >= windowed.occurred_at - to_days(windowed.days::integer)
    window
        one as (
            partition by windowed.milestone, windowed.milestone_id, windowed.scope, windowed.measure, windowed.days
            order by journey.position
        ),
        one_whole as (
            partition by windowed.milestone, windowed.milestone_id, windowed.scope, windowed.measure, windowed.days
        )
),

shared as (
    select
        windowed.booked_month,
        windowed.milestone,
        windowed.scope,
        windowed.measure,
        windowed.currency,
        coalesce(inside.channel, 'Unattributed') as channel,
        model.model,
        windowed.days as look_back_days,
        case
            when inside.place is null then windowed.total
            when model.model = 'linear'
                then sign(windowed.total) * (
                    abs(windowed.total) // inside.touches
                    + (inside.place <= abs(windowed.total) % inside.touches)::bigint
                )
            when model.model = 'first_touch' then case when inside.place = 1 then windowed.total else 0 end
            else case when inside.place = inside.touches then windowed.total else 0 end
        end as credit
    from windowed
    cross join (values ('first_touch'), ('last_touch'), ('linear')) as model (model)
    left join inside
        on
            inside.milestone = windowed.milestone and inside.milestone_id = windowed.milestone_id
            and inside.scope = windowed.scope and inside.measure = windowed.measure and inside.days = windowed.days
    union all
    select booked_month, milestone, scope, measure, currency, channel, model, null, credit_minor
    from marts.deal_attribution
),

summed as (
    select
        booked_month, milestone, scope, measure, currency, channel, model, look_back_days, sum(credit)::bigint as credit
    from shared
    group by booked_month, milestone, scope, measure, currency, channel, model, look_back_days
),

grid as (
    select shown.*, used.model
    from (
        select distinct booked_month, milestone, scope, measure, currency, channel, look_back_days from summed
    ) as shown
    join (select distinct model, scope, look_back_days from summed) as used
        on used.scope = shown.scope and used.look_back_days is not distinct from shown.look_back_days
),

filled as (
    select grid.*, coalesce(summed.credit, 0) as credit, answers.model is not null as is_answer
    from grid
    left join summed
        on
            summed.booked_month = grid.booked_month and summed.milestone = grid.milestone and summed.scope = grid.scope
            and summed.measure = grid.measure and summed.currency is not distinct from grid.currency
            and summed.channel = grid.channel and summed.model = grid.model
            and summed.look_back_days is not distinct from grid.look_back_days
    left join answers on answers.model = grid.model
),

compared as (
    select
        *,
        sum(credit) over (
            partition by booked_month, milestone, scope, measure, currency, model, look_back_days
        ) as all_credit,
        min(credit) filter (where not is_answer) over beside as lowest,
        max(credit) filter (where not is_answer) over beside as highest
    from filled
    window beside as (partition by booked_month, milestone, scope, measure, currency, channel, look_back_days)
)

select
    compared.booked_month,
    compared.milestone,
    compared.scope,
    compared.measure,
    compared.currency,
    compared.channel,
    compared.model,
    compared.look_back_days::bigint as look_back_days,
    compared.credit as credit_minor,
    case
        when compared.measure = 'count' then compared.credit::decimal(19, 0) * 0.000001::decimal(7, 6)
        else compared.credit::decimal(19, 0) * currency.unit::decimal(7, 6)
    end as credit,
    (compared.credit::decimal(19, 0) / nullif(compared.all_credit, 0))::decimal(18, 6) as share,
    compared.lowest as lowest_minor,
    compared.highest as highest_minor,
    compared.highest - compared.lowest as spread_minor
from compared
left join staging.currency as currency on currency.currency = compared.currency
