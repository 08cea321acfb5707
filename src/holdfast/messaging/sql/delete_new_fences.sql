-- Deletes the NEW fence rows of these sagas: keys that were locked and got no row.
delete from fence
where step = %(step)s and state = 'NEW' and saga_id = any(%(saga_ids)b::text[]::uuid[])
