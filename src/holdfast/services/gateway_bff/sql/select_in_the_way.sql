-- Returns for each cart its open checkout, else the one that bought this version.
select distinct on (c.cart_id, c.user_id)
    c.saga_id::text, c.user_id, c.idem_key, c.fingerprint, c.cart_id, c.cart_version, c.total_minor, c.currency,
    c.created_ms, c.last_status, c.saga_version, c.order_id, c.reason, c.detail, c.cart_version_left
from unnest(%(cart_ids)b::text[], %(user_ids)b::text[], %(cart_versions)b::bigint[])
    as u (cart_id, user_id, cart_version)
join checkout c on c.cart_id = u.cart_id and c.user_id = u.user_id
where
    c.cart_id = any(%(cart_ids)b::text[])
    and c.last_status <> 'FAILED'
    and (c.last_status <> 'COMPLETED' or c.cart_version = u.cart_version)
order by c.cart_id, c.user_id, c.last_status = 'COMPLETED', c.saga_id desc
