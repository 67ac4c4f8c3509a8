-- marts.known_gaps holds every row of events.gap and nothing else, and each says what to do.
select 'missing' as what, gap, subject from (
    select gap, subject, records from events.gap except all select gap, subject, deals from marts.known_gaps
)
union all
select 'not in events.gap', gap, subject from (
    select gap, subject, deals from marts.known_gaps except all select gap, subject, records from events.gap
)
union all
select 'without a way out', gap, subject from marts.known_gaps where what_to_do is null
