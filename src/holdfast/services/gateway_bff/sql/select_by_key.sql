-- Returns the checkouts with these users and idempotency keys.
select
    c.saga_id::text, c.user_id, c.idem_key, c.fingerprint, c.cart_id, c.cart_version, c.total_minor, c.currency,
    c.created_ms, c.last_status, c.saga_version, c.order_id, c.reason, c.detail, c.cart_version_left
from unnest(%(user_ids)b::text[], %(idempotency_keys)b::text[]) as u (user_id, idempotency_key)
cross join lateral (
    select * from checkout k
    where k.user_id = u.user_id and k.idem_key = u.idempotency_key
    limit 1
) c
