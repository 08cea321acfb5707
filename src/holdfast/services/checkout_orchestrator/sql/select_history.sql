-- Returns the history of a saga, oldest event first.
select saga_id::text, seq, event_id, kind, payload, path, at_ms
from saga_event
where saga_id = %(saga_id)s::uuid
order by seq
