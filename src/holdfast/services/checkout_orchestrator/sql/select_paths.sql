select saga_id::text, seq, event_id, kind, path, at_ms
from saga_event
where saga_id = any(%(saga_ids)b::text[]::uuid[])
order by saga_id, seq
