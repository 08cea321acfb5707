-- Locks and returns one step's fence rows of these sagas.
select saga_id::text, state, reply_kind, reply, submitted_at is not null, undo_requested
from fence
where step = %(step)s and saga_id = any(%(saga_ids)b::text[]::uuid[])
order by saga_id
for update
