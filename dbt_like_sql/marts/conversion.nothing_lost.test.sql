-- Every planned conversion is one row, with its value in whole minor units.
select conversion_id, destination, state, value as value_minor, currency from conversions.conversion
except
select conversion_id, destination, state, value_minor, currency from marts.conversion
