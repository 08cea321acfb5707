-- Inserts a NEW row for each of these sagas that has none, so that its key can be locked.
insert into fence (saga_id, step, state)
select saga_id::uuid, %(step)s, 'NEW'
from unnest(%(saga_ids)b::text[]) as u (saga_id)
on conflict (saga_id, step) do nothing
