-- Edges and clicks are counted by their kinds without a rest, and no part is larger than its whole.
select figure, sum(records)::bigint as records, max(of_records) as of_records
from marts.identity_quality
where figure in ('edge', 'link_click', 'email_click')
group by figure
having sum(records) <> max(of_records)
union all
select figure, records, of_records
from marts.identity_quality
where records > of_records
