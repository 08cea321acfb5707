-- Writes the new state and reply of these fence rows.
update fence f
set
    state = u.state,
    reply_kind = u.reply_kind,
    reply = u.reply,
    submitted_at = case when u.submitted then coalesce(f.submitted_at, now()) end,
    undo_requested = u.undo_requested,
    changed_at = now()
from unnest(
    %(saga_ids)b::text[], %(states)b::text[], %(reply_kinds)b::text[], %(replies)b::bytea[],
    %(submitted)b::boolean[], %(undo_requested)b::boolean[]
) as u (saga_id, state, reply_kind, reply, submitted, undo_requested)
where
    f.saga_id = u.saga_id::uuid
    and f.step = %(step)s
    and f.saga_id = any(%(saga_ids)b::text[]::uuid[])
