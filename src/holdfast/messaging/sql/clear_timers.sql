-- Deletes the timers with these keys.
delete from timers t
using unnest(%(saga_ids)b::text[], %(steps)b::text[], %(verbs)b::text[]) as u (saga_id, step, verb)
where
    t.saga_id = u.saga_id::uuid
    and t.step = u.step
    and t.verb = u.verb
    and t.saga_id = any(%(saga_ids)b::text[]::uuid[])
