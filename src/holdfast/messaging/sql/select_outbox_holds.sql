select id from outbox where id = any(%(ids)b::bigint[])
