-- Returns the checkouts with these saga ids, each only for its own user.
select
    c.saga_id::text, c.user_id, idem_key, fingerprint, cart_id, cart_version, total_minor, currency, created_ms,
    last_status, saga_version, order_id, reason, detail, cart_version_left
from checkout c
join unnest(%(saga_ids)b::text[], %(user_ids)b::text[]) as u (saga_id, user_id)
    on c.saga_id = u.saga_id::uuid and c.user_id = u.user_id
where c.saga_id = any(%(saga_ids)b::text[]::uuid[])
