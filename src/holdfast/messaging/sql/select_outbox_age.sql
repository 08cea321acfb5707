select coalesce(max(abs(extract(epoch from now() - at)) * 1000)::bigint, 0) from outbox
where id <> all(%(left_out)b::bigint[])
