-- Every send is of a planned conversion to its own destination: nothing leaves without a row in the outbox.
select attempt.batch_id, attempt.conversion_id, attempt.destination
from delivery.attempt as attempt
left join conversions.conversion as conversion on conversion.conversion_id = attempt.conversion_id
where conversion.conversion_id is null or conversion.destination <> attempt.destination
