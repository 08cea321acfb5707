select count(*), coalesce(extract(epoch from now() - min(at)), 0)::bigint from outbox
