select distinct on (cart_id)
    saga_id::text, user_id, idem_key, fingerprint, cart_id, cart_version, total_minor, currency, created_ms,
    last_status, saga_version, order_id, reason, detail, cart_version_left
from checkout
where
    cart_id = any(%(cart_ids)b::text[])
    and last_status <> 'FAILED'
    and (
        last_status <> 'COMPLETED'
        or (cart_id, cart_version) in (
            select cart_id, cart_version
            from unnest(%(cart_ids)b::text[], %(cart_versions)b::bigint[]) as u (cart_id, cart_version)
        )
    )
order by cart_id, last_status = 'COMPLETED', saga_id desc
