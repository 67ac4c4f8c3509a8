-- One row per thing that is in HubSpot or in your files and not in the figures, or may be wrong in them, with its money and
-- what to do about it. Empty where nothing is. A gap of several currencies has a row for each.
--
-- @audience: revenue-operations, finance
-- @column gap [not_null] [in stage_unknown, pipeline_unmapped, stage_disagrees, deal_refused, rate_missing, record_incomplete,
--   record_refused, rows_refused, deal_without_facts, internal_or_test, unattributed]: what kind of gap it is. Records wait in
--   quarantine whole (refused) or are stored without a field (incomplete); rows are those of clicks, forms and files;
--   unattributed wins are in the figures, at no channel
-- @column subject [not_null]: id of the stage, pipeline or deal; rate_missing: the currency; records: OBJECT:ID; rows: their
--   table; unattributed: the id of the win in marts.milestone
-- @column deal_id: HubSpot deal id, where it is about one deal
-- @column detail: why, in one word or by column; null where the gap says it all
-- @column records [>= 0]: how many deals, milestones, records or rows it concerns; null where it is about the mapping
-- @column currency: ISO 4217 code of the amount
-- @column amount_minor: amounts of the deals it concerns as HubSpot has them now, minor units; null where none is known
-- @column amount: the same in the currency's unit
-- @column first_at: earliest of their entries, milestones or days of spend, or when a deal was refused, UTC; null for what
--   else waits in quarantine, which has it
-- @column what_to_do [not_null]: how to close it
-- @unique: gap, subject, detail, currency
with named as (
    select
        gap.gap,
        gap.subject,
        case when gap.gap = 'deal_refused' then gap.subject end as deal_id,
        gap.records,
        gap.first_at,
        deal.currency,
        sum(deal.amount_minor)::bigint as amount_minor
    from events.gap as gap
    left join staging.deal as deal
        on
            not deal.is_archived
            and case gap.gap
                when 'stage_unknown' then deal.stage_id = gap.subject
                when 'stage_disagrees' then deal.stage_id = gap.subject
                when 'pipeline_unmapped' then deal.pipeline_id = gap.subject
                when 'deal_refused' then deal.deal_id = gap.subject
                else deal.currency = gap.subject
            end
    group by gap.gap, gap.subject, gap.records, gap.first_at, deal.currency
),

refused as (
    select 'contacts' as kind, key, reasons, stored from quarantine.contact where not resolved
    union all
    select 'companies', key, reasons, stored from quarantine.company where not resolved
    union all
    select 'deals', key, reasons, stored from quarantine.deal where not resolved
),

waiting as (
    select 'raw.link_click' as source, reasons from quarantine.link_click where not resolved
    union all
    select 'raw.form_submission', reasons from quarantine.form_submission where not resolved
    union all
    select 'raw.email_click', reasons from quarantine.email_click where not resolved
    union all
    select 'raw.offline_touch', reasons from quarantine.offline_touch where not resolved
    union all
    select 'raw.activity', reasons from quarantine.activity where not resolved
    union all
    select 'raw.property_history', reasons from quarantine.property_history where not resolved
    union all
    select 'raw.ad_spend', reasons from quarantine.ad_spend where not resolved
    union all
    select 'raw.cost', reasons from quarantine.cost where not resolved
    union all
    select 'raw.exchange_rate', reasons from quarantine.exchange_rate where not resolved
),

fact as (
    select
        deal_id::varchar as deal_id,
        bool_and(suppressed_by is not null) as is_suppressed,
        min(occurred_at) as first_at
    from events.milestone
    where deal_id is not null
    group by deal_id
),

unattributed as (
    select
        win.milestone_id,
        win.deal_id::varchar as deal_id,
        arg_min(led.unattributed_reason, led.scope) as reason,
        win.currency,
        win.amount_current as amount_minor,
        win.occurred_at as first_at
    from attribution.journey as led
    join events.milestone as win on win.milestone = led.milestone and win.milestone_id = led.milestone_id
    where
        win.milestone in ('customer_won', 'customer_expanded') and win.state = 'live' and win.suppressed_by is null
        and led.unattributed_reason is not null
    group by all
),

found as (
    select gap, subject, deal_id, null as detail, records, currency, amount_minor, first_at
    from named
    union all
    select
        case when coalesce(refused.stored, false) then 'record_incomplete' else 'record_refused' end,
        refused.kind || ':' || refused.key,
        case when refused.kind = 'deals' then refused.key end,
        string_agg(distinct regexp_replace(refused.reasons, '\([^;]*\)', '', 'g'), '; '),
        1,
        deal.currency,
        max(deal.amount_minor),
        null
    from refused
    left join staging.deal as deal on refused.kind = 'deals' and deal.deal_id = refused.key
    where refused.kind <> 'deals' or coalesce(refused.stored, false)
    group by coalesce(refused.stored, false), refused.kind, refused.key, deal.currency
    union all
    select
        'rows_refused', source, null, regexp_replace(reasons, '\([^;]*\)', '', 'g'), count(*), null, null, null
    from waiting
    group by source, regexp_replace(reasons, '\([^;]*\)', '', 'g')
    union all
    select 'deal_without_facts', deal.deal_id, deal.deal_id, null, 1, deal.currency, deal.amount_minor, deal.created_at
    from staging.deal as deal
    anti join fact on fact.deal_id = deal.deal_id
    anti join named
        on
            (named.gap = 'stage_unknown' and named.subject = deal.stage_id)
            or (named.gap = 'pipeline_unmapped' and named.subject = deal.pipeline_id)
            or (named.gap = 'deal_refused' and named.subject = deal.deal_id)
    where not deal.is_archived
    union all
    select 'internal_or_test', deal.deal_id, deal.deal_id, null, 1, deal.currency, deal.amount_minor, fact.first_at
    from staging.deal as deal
    join fact on fact.deal_id = deal.deal_id
    where fact.is_suppressed and not deal.is_archived
    union all
    select 'unattributed', milestone_id, deal_id, reason, 1, currency, amount_minor, first_at
    from unattributed
)

select
    found.gap,
    found.subject,
    found.deal_id,
    found.detail,
    found.records,
    case when found.amount_minor is not null then found.currency end as currency,
    found.amount_minor,
    found.amount_minor::decimal(19, 0) * unit.unit as amount,
    found.first_at,
    case found.gap
        when 'stage_unknown' then 'HubSpot lists no such stage: name it under deals.stages in the mapping file'
        when 'pipeline_unmapped' then 'give the pipeline a kind under deals.pipelines in the mapping file'
        when 'stage_disagrees' then 'name the stage under deals.stages as HubSpot has it, or change it in HubSpot'
        when 'deal_refused' then 'mend the deal in HubSpot: its newest version cannot be read'
        when 'rate_missing' then 'put the rates of these days into inbox/rates: amounts in this currency are not converted'
        when 'record_incomplete' then 'mend the field in HubSpot: until then the record counts without it'
        when 'record_refused' then 'mend the record in HubSpot: its newest version cannot be read'
        when 'rows_refused' then 'mend the source or file and drop it again; quarantine has the rows'
        when 'deal_without_facts'
            then 'its pipeline is ignored by the mapping (deals.pipelines), or it was in no stage that counts'
        when 'internal_or_test' then 'nothing, if it is: else change suppression in the mapping file'
        when 'unattributed' then 'crm-attribution why milestone: which touches it had, and why none of them counts'
    end as what_to_do
from found
left join staging.currency as unit on unit.currency = found.currency
