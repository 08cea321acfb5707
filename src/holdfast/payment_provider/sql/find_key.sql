select fingerprint, status, body, created_ms from idempotency_keys where key = :key
