-- Writes how checkouts ended, over rows with an older saga version.
update checkout c
set
    last_status = u.status,
    saga_version = u.saga_version,
    order_id = u.order_id,
    reason = u.reason,
    detail = u.detail,
    cart_version_left = u.version_left,
    changed_at = now()
from unnest(
    %(saga_ids)b::text[], %(statuses)b::text[], %(saga_versions)b::bigint[], %(order_ids)b::text[],
    %(reasons)b::text[], %(details)b::text[], %(versions_left)b::bigint[]
) as u (saga_id, status, saga_version, order_id, reason, detail, version_left)
where
    c.saga_id = u.saga_id::uuid
    and c.saga_version < u.saga_version
    and c.saga_id = any(%(saga_ids)b::text[]::uuid[])
