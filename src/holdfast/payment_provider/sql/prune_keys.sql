-- Deletes the oldest idempotency keys, if they are too old.
delete from idempotency_keys where seq in (select seq from idempotency_keys order by seq limit :limit)
and created_ms <= :before_ms
