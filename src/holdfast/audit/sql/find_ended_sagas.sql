-- Returns which of these sagas have ended, and how.
select saga_id::text, state
from saga
where state in ('COMPLETED', 'FAILED') and saga_id = any(%(saga_ids)b::text[]::uuid[])
