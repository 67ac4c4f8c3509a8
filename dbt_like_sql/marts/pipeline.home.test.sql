-- A deal with a live fact that has a value in the home currency shows it, and a deal with none shows none.
with expected as (
    select distinct fact.deal_id::varchar as deal_id
    from events.milestone as fact
    join events.home_value as value
        on value.milestone = fact.milestone and value.milestone_id = fact.milestone_id
    where fact.state = 'live' and value.amount_home is not null
)

select pipeline.deal_id, pipeline.home_currency, pipeline.amount_home_minor
from marts.pipeline as pipeline
left join expected on expected.deal_id = pipeline.deal_id
where
    (expected.deal_id is null) <> (pipeline.amount_home_minor is null)
    or (pipeline.amount_home_minor is null) <> (pipeline.home_currency is null)
    or (pipeline.home_currency = pipeline.currency and pipeline.amount_home_minor <> pipeline.amount_minor)
