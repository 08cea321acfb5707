-- Locks and returns a saga's timers.
select saga_id::text, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset
from timers
where saga_id = %(saga_id)s::uuid
order by step, verb
for update
