-- Keeps an answer under an idempotency key.
insert into idempotency_keys (key, fingerprint, status, body, created_ms)
values (:key, :fingerprint, :status, :body, :created_ms)
