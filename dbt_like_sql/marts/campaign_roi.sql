-- One row per month, basis, level, campaign, model, scope, measure and currency: what marketing cost and what it brought.
-- Always pick one basis, one level, one model, one scope and one measure. A ratio is null where what it divides by is missing.
--
-- Booking: revenue booked in the month / spend of the month. Cohort: revenue that accounts which entered the funnel in the
-- month have brought until now / spend of that month; compare cohorts at equal age only, and mind is_mature. Revenue is the
-- model's credit of won deals (customer_won and customer_expanded; mrr and arr are the new ones, of renewals only the change).
-- Spend is that of ads that counts (marts.spend.is_counted), in the campaign of the touches it led to, else under its own name;
-- other cost of sales and marketing (marts.cost) has no campaign and stands in the level total.
--
-- Money is in the home currency where the HubSpot account has one (what has no rate is left out, marts.known_gaps), else in
-- the deals' own currencies.
--
-- @audience: finance, marketing
-- @column month [not_null]: first day of the month: booked, or in which the account entered the funnel and the money was spent
-- @column basis [not_null] [in booking, cohort]: see above
-- @column level [not_null] [in campaign, total]: one campaign, or all together; never add the two up
-- @column campaign: campaign of the touches, or the name of one that no touch has; null in total, and for credit of touches
--   without a campaign and of no touch
-- @column model [not_null]: attribution model; in total the attributed and the unattributed are in it, so all models agree
-- @column scope [not_null] [in account, deal_contacts]: whose touches count
-- @column measure [not_null] [in amount, mrr, arr, tcv]: what revenue is
-- @column currency: ISO 4217 code of the money; null where an outcome has none
-- @column revenue_minor [not_null]: credit of won deals in the measure, minor units
-- @column revenue: the same in the currency's unit
-- @column spend_minor: spend on ads, minor units; null without any
-- @column spend: the same in the currency's unit
-- @column cost_minor: total: spend on ads and all other cost of sales and marketing, minor units; null where none of the other
--   is told, and of a campaign
-- @column cost: the same in the currency's unit
-- @column new_customers [not_null]: first wins of accounts that the model credits; a share of one counts as such
-- @column new_mrr_minor: new monthly recurring revenue of those first wins, minor units
-- @column roas: revenue / spend; null without spend
-- @column paid_cac: spend on ads / new customers, in the currency's unit
-- @column cac: all cost of sales and marketing / new customers, in the currency's unit; total alone has it
-- @column payback_months: cost (of a campaign its spend) / (new MRR of new customers x gross margin); null while the mapping
--   names no margin (spend.gross_margin_percent)
-- @column payback_months_revenue: the same at a margin of 100 %
-- @column cohort_accounts: cohort: accounts that entered the funnel in the month, of a campaign by their entry campaign
-- @column cohort_age_days: cohort: days from the end of the month to the newest day HubSpot recorded a fact; below 0
--   while the month runs
-- @column share_still_open [>= 0] [<= 1]: cohort: part of its accounts that is neither customer nor lost with all its deals
-- @column is_mature: cohort: as old as nine of ten customers took from entry to first win; null while there is no customer
-- @unique: month, basis, level, campaign, model, scope, measure, currency
with home as (
    select min(company_currency) as currency
    from staging.account
),

used as (
    select distinct model, scope
    from marts.revenue_attribution
),

measure (measure) as (
    values ('amount'), ('mrr'), ('arr'), ('tcv')
),

entered as (
    select
        account_id,
        date_trunc('month', entered_on)::date as month,
        entry_campaign as campaign,
        entered_on,
        customer_won_on,
        customer_won_on is null and (deals_open > 0 or deals_lost = 0) as is_open
    from marts.account_progress
),

credited as (
    select
        credit.booked_month,
        entered.month as entered_month,
        credit.milestone,
        credit.campaign,
        credit.model,
        credit.scope,
        credit.measure,
        coalesce(home.currency, fact.currency) as currency,
        case when credit.measure = 'count' or home.currency is null then credit.credit_minor else credit.credit_home_minor end
            as credit
    from marts.deal_attribution as credit
    cross join home
    join marts.milestone as fact on fact.milestone = credit.milestone and fact.milestone_id = credit.milestone_id
    left join entered on entered.account_id = credit.account_id
    where credit.milestone in ('customer_won', 'customer_expanded')
),

dated as (
    select 'booking' as basis, booked_month as month, * exclude (booked_month, entered_month)
    from credited
    union all
    select 'cohort', entered_month, * exclude (booked_month, entered_month)
    from credited
    where entered_month is not null
),

spent as (
    select
        spend.spent_month as month,
        coalesce(spend.campaign, spend.campaign_name, spend.campaign_id) as campaign,
        coalesce(home.currency, spend.currency) as currency,
        sum(case when home.currency is null then spend.amount_minor else spend.amount_home_minor end)::bigint as spend
    from marts.spend as spend
    cross join home
    where spend.is_counted
    group by all
),

other as (
    select
        cost.month,
        coalesce(home.currency, cost.currency) as currency,
        sum(case when home.currency is null then cost.amount_minor else cost.amount_home_minor end)::bigint as cost
    from marts.cost as cost
    cross join home
    group by all
),

leveled as (
    select 'campaign' as level, * from dated
    union all
    select 'total', * replace (null::varchar as campaign) from dated
),

sold as (
    select
        level, basis, month, campaign, model, scope, currency,
        coalesce(sum(credit) filter (where measure = 'amount'), 0)::bigint as amount,
        coalesce(sum(credit) filter (where measure = 'mrr'), 0)::bigint as mrr,
        coalesce(sum(credit) filter (where measure = 'arr'), 0)::bigint as arr,
        coalesce(sum(credit) filter (where measure = 'tcv'), 0)::bigint as tcv,
        coalesce(sum(credit) filter (where measure = 'count' and milestone = 'customer_won'), 0)::bigint as customers,
        sum(credit) filter (where measure = 'mrr' and milestone = 'customer_won')::bigint as new_mrr
    from leveled
    group by level, basis, month, campaign, model, scope, currency
),

paid as (
    select 'campaign' as level, month, campaign, currency, spend, null::bigint as cost
    from spent
    union all
    select 'total', month, null, currency, sum(spend)::bigint, case when max(cost) is not null then
        (coalesce(sum(spend), 0) + max(cost))::bigint end
    from (
        select coalesce(spent.month, other.month) as month, coalesce(spent.currency, other.currency) as currency,
            spent.spend, other.cost
        from (select month, currency, sum(spend)::bigint as spend from spent group by month, currency) as spent
        full join other on other.month = spent.month and other.currency = spent.currency
    )
    group by month, currency
),

key as (
    select level, basis, month, campaign, model, scope, currency from sold
    union
    select paid.level, basis.basis, paid.month, paid.campaign, used.model, used.scope, paid.currency
    from paid
    cross join used
    cross join (values ('booking'), ('cohort')) as basis (basis)
),

cohort as (
    select
        'campaign' as level, month, campaign, count(*) as accounts, count(*) filter (where is_open) as still_open
    from entered
    group by month, campaign
    union all
    select 'total', month, null, count(*), count(*) filter (where is_open)
    from entered
    group by month
),

age as (
    select
        (select max(observed_at)::date from marts.milestone) as today,
        (
            select quantile_disc(date_diff('day', entered_on, customer_won_on), 0.9)
            from entered
            where customer_won_on is not null
        ) as mature_after,
        (select min(value) from attribution.parameter where name = 'gross_margin_percent') as margin
),

figure as (
    select
        key.*,
        measure.measure,
        coalesce(
            case measure.measure
                when 'amount' then sold.amount
                when 'mrr' then sold.mrr
                when 'arr' then sold.arr
                else sold.tcv
            end, 0
        ) as revenue,
        paid.spend,
        paid.cost,
        coalesce(sold.customers, 0) as customers,
        sold.new_mrr,
        cohort.accounts,
        cohort.still_open,
        date_diff('day', (key.month + interval 1 month)::date, age.today) as age_days,
        age.mature_after,
        age.margin
    from key
    cross join measure
    cross join age
    left join sold
        on
            sold.level = key.level and sold.basis = key.basis and sold.month = key.month
            and sold.campaign is not distinct from key.campaign and sold.model = key.model and sold.scope = key.scope
            and sold.currency is not distinct from key.currency
    left join paid
        on
            paid.level = key.level and paid.month = key.month and paid.campaign is not distinct from key.campaign
            and paid.currency is not distinct from key.currency
    left join cohort
        on
            key.basis = 'cohort' and cohort.level = key.level and cohort.month = key.month
            and cohort.campaign is not distinct from key.campaign
)

select
    figure.month,
    figure.basis,
    figure.level,
    figure.campaign,
    figure.model,
    figure.scope,
    figure.measure,
    figure.currency,
    figure.revenue as revenue_minor,
    figure.revenue::decimal(19, 0) * unit.unit as revenue,
    figure.spend as spend_minor,
    figure.spend::decimal(19, 0) * unit.unit as spend,
    figure.cost as cost_minor,
    figure.cost::decimal(19, 0) * unit.unit as cost,
    figure.customers::decimal(19, 0) * 0.000001::decimal(7, 6) as new_customers,
    figure.new_mrr as new_mrr_minor,
    (figure.revenue::decimal(19, 0) / case when figure.spend > 0 then figure.spend end)::decimal(18, 4) as roas,
    (figure.spend::decimal(19, 0) * 1000000 / case when figure.customers > 0 then figure.customers end * unit.unit)
        ::decimal(18, 2) as paid_cac,
    (figure.cost::decimal(19, 0) * 1000000 / case when figure.customers > 0 then figure.customers end * unit.unit)
        ::decimal(18, 2) as cac,
    (
        coalesce(figure.cost, case when figure.level = 'campaign' then figure.spend end)::decimal(19, 0) * 100
        / (case when figure.new_mrr > 0 then figure.new_mrr end * figure.margin)
    )::decimal(18, 2) as payback_months,
    (
        coalesce(figure.cost, case when figure.level = 'campaign' then figure.spend end)::decimal(19, 0)
        / case when figure.new_mrr > 0 then figure.new_mrr end
    )::decimal(18, 2) as payback_months_revenue,
    figure.accounts as cohort_accounts,
    case when figure.basis = 'cohort' then figure.age_days end as cohort_age_days,
    (figure.still_open::decimal(18, 0) / nullif(figure.accounts, 0))::decimal(9, 6) as share_still_open,
    case when figure.basis = 'cohort' then figure.age_days >= figure.mature_after end as is_mature
from figure
left join staging.currency as unit on unit.currency = figure.currency
