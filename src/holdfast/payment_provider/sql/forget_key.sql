-- Deletes an idempotency key.
delete from idempotency_keys where key = :key
