delete from idempotency_keys where key = :key
