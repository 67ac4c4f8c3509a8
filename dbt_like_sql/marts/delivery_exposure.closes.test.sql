-- What is believed is what is so now and the exposure.
select * from marts.delivery_exposure
where believed_minor <> now_minor + exposure_minor
