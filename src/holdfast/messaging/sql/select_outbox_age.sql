-- Returns the age of the oldest batch in milliseconds. A date in the future counts as an age of the same length.
select coalesce(max(abs(extract(epoch from now() - at)) * 1000)::bigint, 0) from outbox
where id <> all(%(left_out)b::bigint[])
