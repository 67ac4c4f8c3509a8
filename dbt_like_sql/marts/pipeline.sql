-- One row per deal as it stands in HubSpot now, open and closed: stage, value, owner, account and the channel
-- that brought it in. Archived and merged-away deals are left out. Internal and test deals are in it, flagged
-- is_suppressed: leave them out of sums. What was booked when is in marts.milestone.
--
-- The deal's name stays in raw (people put names of persons into it); its id opens it in HubSpot. There is no age of
-- deals here: it would be another number at every look. Subtract created_on from your own today.
--
-- @audience: finance, revenue-operations
-- @column deal_id [not_null] [unique]: HubSpot deal id
-- @column status [not_null] [in open, won, lost]: open; won where the stage or a standing win says so; else lost
-- @column pipeline_id: HubSpot pipeline id
-- @column pipeline_label: the pipeline's name
-- @column stage_id: HubSpot stage id
-- @column stage_label: the stage's name
-- @column stage_order: position of the stage in its pipeline
-- @column probability [>= 0] [<= 1]: win probability of the stage
-- @column deal_type: newbusiness, existingbusiness or the portal's own
-- @column created_on [not_null]: day HubSpot created the deal, in the account's time zone
-- @column close_on: close date in the account's time zone; an estimate while the deal is open
-- @column owner_id: HubSpot owner id
-- @column owner_name: the owner's name; null without an owner, and where HubSpot lists none of this id
-- @column lost_reason: why a lost deal was lost, as HubSpot has it (closed_lost_reason); null while it is not lost
-- @column value_reason: why mrr, arr or tcv is null, by measure; null where none is missing
-- @column account_id: the buying organisation: company:ID, or deal:ID for a deal without company
-- @column account_name: company name; null for deal:ID
-- @column account_domain: company domain; null for deal:ID
-- @column entry_channel [not_null]: channel of the deal's entry touch (the account's earliest, up to an hour after its
--   creation), or Unattributed; not what the model first_touch credits, which looks at the window of one outcome
-- @column entry_source: source of that touch
-- @column entry_campaign: campaign of that touch
-- @column is_suppressed [not_null]: internal or test traffic by the mapping's rules
-- @column currency: ISO 4217 code
-- @column amount_minor: amount, minor units
-- @column weighted_minor: amount x probability, rounded to whole minor units
-- @column mrr_minor: monthly recurring revenue, minor units; null in pipelines the mapping does not track
-- @column arr_minor: annual recurring revenue, minor units; likewise
-- @column tcv_minor: total contract value, minor units; likewise
-- @column amount: amount in the currency's unit
-- @column weighted: weighted amount in the currency's unit
-- @column home_currency: home currency of the HubSpot account, ISO 4217 code; null without an amount, a rate or a home
--   currency, and in pipelines the mapping does not track
-- @column amount_home_minor: amount in the home currency, minor units: of a won deal by its own rate, else by the present one
-- @column weighted_home_minor: amount x probability in the home currency, rounded to whole minor units
-- @column amount_home: amount in the home currency's unit
-- @column weighted_home: weighted amount in the home currency's unit
-- @unique: deal_id
with zone as (
    select coalesce(min(time_zone), 'UTC') as time_zone
    from staging.account
),

fact as (
    select
        deal_id::varchar as deal_id,
        coalesce(
            bool_or(state = 'live' and milestone in ('customer_won', 'customer_expanded')), false
        ) as has_standing_win,
        bool_or(suppressed_by is not null) as is_suppressed,
        max(mrr_current) as mrr,
        max(arr_current) as arr,
        max(tcv_current) as tcv
    from events.milestone
    where deal_id is not null
    group by deal_id
),

worth as (
    select
        fact.deal_id::varchar as deal_id,
        arg_max(
            {'currency': value.home_currency, 'amount': value.amount_home},
            (fact.milestone in ('customer_won', 'customer_expanded'), fact.observed_at, fact.milestone_id)
        ) as home
    from events.milestone as fact
    join events.home_value as value
        on value.milestone = fact.milestone and value.milestone_id = fact.milestone_id
    where fact.state = 'live' and fact.deal_id is not null and value.amount_home is not null
    group by fact.deal_id
),

valued as (
    select
        record_id::varchar as deal_id,
        arg_max(coalesce(value_reason, ''), (observed_at, event_id)) as value_reason
    from events.event
    where object_type = 'deals'
    group by record_id
),

company as (
    select account_id, name, domain
    from identity.account
    where company_id is not null
)

select
    deal.deal_id,
    case
        when deal.is_won or coalesce(fact.has_standing_win, false) then 'won'
        when deal.is_closed then 'lost'
        else 'open'
    end as status,
    deal.pipeline_id,
    deal.pipeline_label,
    deal.stage_id,
    deal.stage_label,
    deal.stage_order,
    deal.probability,
    deal.deal_type,
    (deal.created_at at time zone zone.time_zone)::date as created_on,
    (deal.close_date at time zone zone.time_zone)::date as close_on,
    deal.owner_id,
    seller.owner_name,
    case when deal.is_closed and not deal.is_won and not coalesce(fact.has_standing_win, false) then deal.lost_reason end
        as lost_reason,
    nullif(valued.value_reason, '') as value_reason,
    owner.account_id,
    company.name as account_name,
    company.domain as account_domain,
    coalesce(entry.entry_channel, 'Unattributed') as entry_channel,
    entry.entry_source,
    entry.entry_campaign,
    coalesce(fact.is_suppressed, false) as is_suppressed,
    deal.currency,
    deal.amount_minor,
    round(deal.amount_minor::decimal(19, 0) * deal.probability)::bigint as weighted_minor,
    fact.mrr as mrr_minor,
    fact.arr as arr_minor,
    fact.tcv as tcv_minor,
    deal.amount_minor::decimal(19, 0) * currency.unit as amount,
    round(deal.amount_minor::decimal(19, 0) * deal.probability)::decimal(19, 0) * currency.unit as weighted,
    worth.home.currency as home_currency,
    worth.home.amount as amount_home_minor,
    round(worth.home.amount::decimal(19, 0) * deal.probability)::bigint as weighted_home_minor,
    worth.home.amount::decimal(19, 0) * home.unit as amount_home,
    round(worth.home.amount::decimal(19, 0) * deal.probability)::decimal(19, 0) * home.unit as weighted_home
from staging.deal as deal
cross join zone
left join fact on fact.deal_id = deal.deal_id
left join identity.deal_account as owner on owner.deal_id::varchar = deal.deal_id
left join company on company.account_id = owner.account_id
left join staging.funnel_entry as entry on entry.subject = 'deal' and entry.subject_id = deal.deal_id
left join staging.owner as seller on seller.owner_id = deal.owner_id
left join worth on worth.deal_id = deal.deal_id
left join valued on valued.deal_id = deal.deal_id
left join staging.currency as currency on currency.currency = deal.currency
left join staging.currency as home on home.currency = worth.home.currency
where not deal.is_archived
