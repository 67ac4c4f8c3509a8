-- One row per thing the figures leave out or may have wrong, and what to do about it. Empty where nothing is.
--
-- @audience: revenue-operations
-- @column gap [not_null] [in stage_unknown, pipeline_unmapped, stage_disagrees, deal_refused, rate_missing]: what kind of
--   gap it is
-- @column subject [not_null]: id of the stage, pipeline or deal; rate_missing: the currency, ISO 4217 code
-- @column deals [>= 0]: how many deals it concerns (rate_missing: how many milestones and amounts spent); null where it is about the mapping
-- @column first_at: earliest of their entries, milestones or days of spend, or when the deal was refused, UTC
-- @column what_to_do [not_null]: how to close it
-- @unique: gap, subject
select
    gap,
    subject,
    records as deals,
    first_at,
    case gap
        when 'stage_unknown' then 'HubSpot lists no such stage: name it under deals.stages in the mapping file'
        when 'pipeline_unmapped' then 'give the pipeline a kind under deals.pipelines in the mapping file'
        when 'stage_disagrees' then 'name the stage under deals.stages as HubSpot has it, or change it in HubSpot'
        when 'deal_refused' then 'mend the deal in HubSpot: its newest version cannot be read'
        when 'rate_missing' then 'put the rates of these days into inbox/rates: amounts in this currency are not converted'
    end as what_to_do
from events.gap
