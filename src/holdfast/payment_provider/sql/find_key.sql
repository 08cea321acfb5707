-- Returns the answer that is kept under an idempotency key.
select fingerprint, status, body, created_ms from idempotency_keys where key = :key
