select coalesce((extract(epoch from now() - min(at)) * 1000)::bigint, 0) from outbox
