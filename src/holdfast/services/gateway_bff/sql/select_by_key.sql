select
    saga_id::text, user_id, idem_key, fingerprint, cart_id, cart_version, total_minor, currency, created_ms,
    last_status, saga_version, order_id, reason, detail, cart_version_left
from checkout
where
    user_id = any(%(user_ids)b::text[])
    and idem_key = any(%(idempotency_keys)b::text[])
