-- Returns which of these checkouts have ended.
select saga_id::text
from checkout
where saga_id = any(%(saga_ids)b::text[]::uuid[]) and last_status in ('COMPLETED', 'FAILED')
