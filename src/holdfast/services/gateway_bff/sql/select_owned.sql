select
    saga_id::text, user_id, idempotency_key, fingerprint, cart_id, cart_version, total_minor, currency, created_ms,
    last_status, saga_version, order_id, reason, detail, cart_version_left
from checkout
where saga_id = %(saga_id)s::uuid and user_id = %(user_id)s
