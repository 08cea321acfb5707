-- Sets the status of orders, by saga.
update orders o
set status = u.status, changed_at = now()
from unnest(%(saga_ids)b::text[], %(statuses)b::text[]) as u (saga_id, status)
where o.saga_id = u.saga_id::uuid and o.saga_id = any(%(saga_ids)b::text[]::uuid[])
