-- Inserts a row for each saga id that has none, so that it can be locked.
insert into saga (saga_id)
select saga_id::uuid from unnest(%(saga_ids)b::text[]) as u (saga_id)
on conflict (saga_id) do nothing
