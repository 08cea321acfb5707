-- Returns how many outbox rows there are, and the age of the oldest in seconds.
select count(*), coalesce(extract(epoch from now() - min(at)), 0)::bigint from outbox
